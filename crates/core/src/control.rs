//! The control log: what changed in who may do what, in commit order, for every node to follow.

use crate::ids::{TokenId, UserId};

/// A position in the control log; 0 stands before the first entry. Positions rise in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ControlPosition(pub u64);

/// One change. It names what to look up anew; the truth is the row itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlChange {
    /// This token was revoked, itself or with its parent.
    Token(TokenId),
    /// This user's name, role or state changed.
    User(UserId),
}

/// A change and where it stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlEntry {
    /// Its place.
    pub position: ControlPosition,
    /// What changed.
    pub change: ControlChange,
}
