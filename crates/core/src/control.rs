//! The control log: changes of rights in commit order, which every node follows.

use crate::ids::{TokenId, UserId};

/// A position in the control log; 0 is before the first entry. Positions increase in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ControlPosition(pub u64);

/// One change. It names the row to read again and does not contain the new values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlChange {
    /// This token was revoked, directly or because its parent was.
    Token(TokenId),
    /// This user's name, role or state changed.
    User(UserId),
}

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlEntry {
    /// Its position.
    pub position: ControlPosition,
    /// The change.
    pub change: ControlChange,
}
