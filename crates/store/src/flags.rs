//! The bits of `changes.flags`, which say what further a message has.

/// The message was deleted for good.
pub(crate) const REMOVED: i64 = 256;
