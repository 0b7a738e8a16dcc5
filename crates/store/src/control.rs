//! The format of the control log's rows.

use chatsphere_core::{ControlChange, ControlEntry, ControlPosition, TokenId, UserId};
use uuid::Uuid;

const TOKEN: &str = "token";
const USER: &str = "user";

/// Returns the columns `kind` and `subject` of a change.
pub(crate) fn to_row(change: &ControlChange) -> (&'static str, Uuid) {
    match change {
        ControlChange::Token(id) => (TOKEN, *id.as_uuid()),
        ControlChange::User(id) => (USER, *id.as_uuid()),
    }
}

/// Makes an entry of its columns. `None` for a kind that this program does not write.
pub(crate) fn from_row(position: u64, kind: &str, subject: Uuid) -> Option<ControlEntry> {
    let change = match kind {
        TOKEN => ControlChange::Token(TokenId::from_uuid(subject)),
        USER => ControlChange::User(UserId::from_uuid(subject)),
        _ => return None,
    };
    Some(ControlEntry { position: ControlPosition(position), change })
}
