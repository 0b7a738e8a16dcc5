//! The format of the control log's rows.

use chatsphere_core::{ControlChange, ControlEntry, ControlPosition, TokenId, UserId};
use uuid::Uuid;

use crate::rows::{self, Columns};

const TOKEN: &str = "token";
const USER: &str = "user";

/// Returns the columns `kind` and `subject` of a change.
pub(crate) fn to_row(change: &ControlChange) -> (&'static str, Uuid) {
    match change {
        ControlChange::Token(id) => (TOKEN, *id.as_uuid()),
        ControlChange::User(id) => (USER, *id.as_uuid()),
    }
}

/// Makes an entry of the columns `position, kind, subject`.
pub(crate) fn from_row<R: Columns>(row: &R) -> Result<ControlEntry, R::Error> {
    let subject: Uuid = row.value(2)?;
    let change = match row.text(1)? {
        TOKEN => ControlChange::Token(TokenId::from_uuid(subject)),
        USER => ControlChange::User(UserId::from_uuid(subject)),
        _ => return Err(row.foreign(1, "no kind of control entry")),
    };
    Ok(ControlEntry { position: ControlPosition(rows::count(row, 0)?), change })
}
