//! How entries of the control log are stored.

use chatsphere_core::{ControlChange, ControlEntry, ControlPosition, TokenId, UserId};
use uuid::Uuid;

const TOKEN: &str = "token";
const USER: &str = "user";

/// The columns `kind` and `subject`.
pub(crate) fn to_row(change: &ControlChange) -> (&'static str, Uuid) {
    match change {
        ControlChange::Token(id) => (TOKEN, *id.as_uuid()),
        ControlChange::User(id) => (USER, *id.as_uuid()),
    }
}

/// The inverse; `None` for a kind that this program did not write.
pub(crate) fn from_row(position: u64, kind: &str, subject: Uuid) -> Option<ControlEntry> {
    let change = match kind {
        TOKEN => ControlChange::Token(TokenId::from_uuid(subject)),
        USER => ControlChange::User(UserId::from_uuid(subject)),
        _ => return None,
    };
    Some(ControlEntry { position: ControlPosition(position), change })
}
