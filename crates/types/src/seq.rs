//! The numbers of durable events and of messages' versions, and the epoch of the database.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a durable event in its room: 1, 2, 3 … without a gap. 0 means before the first event.
///
/// At most 2^53 - 1, the largest integer that JavaScript represents exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The cursor before the first event.
    pub const ZERO: Self = Self(0);
    /// The largest number: JavaScript and both databases represent it exactly.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Makes a `Seq` of a number. A number above [`Seq::MAX`] becomes [`Seq::MAX`].
    pub const fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self::MAX } else { Self(number) }
    }

    /// Returns the number as a plain integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next number.
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// Returns the previous number; 0 stays 0.
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a version of a message's content: 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u32);

impl Version {
    /// The version that was posted.
    pub const FIRST: Self = Self(1);

    /// Makes a `Version` of a number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number as a plain integer.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the next version. After the largest number of a `u32` it stays the same.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Identifies a timeline of an installation's data. A restore from a backup changes the epoch; a move to another database keeps
/// it. If the epoch has changed, a client can't use the `seq` that it received in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(std::sync::Arc<str>);

impl Epoch {
    /// Makes an epoch of the opaque text that the database stores.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// Makes a random epoch, different from all others.
    pub fn random() -> Self {
        let bits: u64 = rand::random();
        Self(format!("{bits:016x}").into())
    }

    /// Returns the opaque text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
