//! Where a durable event stands in its room, and in which life of the database; which version of a message it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a durable event in its room: 1, 2, 3 … without a gap. 0 stands before the first.
///
/// At most 2^53 - 1, so that JavaScript reads it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);
    /// The largest number that JavaScript and both databases hold exactly.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The number, or [`Seq::MAX`] if it is above that.
    pub const fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self::MAX } else { Self(number) }
    }

    /// The number as a plain integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next number.
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// The number before; 0 stays 0.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which version of a message's content: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u32);

impl Version {
    /// As it was posted.
    pub const FIRST: Self = Self(1);

    /// The version of this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number as a plain integer.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The next version. The last number that there is stays the same.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Names one life of an installation's data. Changed by a restore, kept by a move to another database: a client that
/// comes back with another epoch can't trust its `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(std::sync::Arc<str>);

impl Epoch {
    /// Takes the opaque text as stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// A new one, unlike any other.
    pub fn random() -> Self {
        let bits: u64 = rand::random();
        Self(format!("{bits:016x}").into())
    }

    /// The opaque text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
