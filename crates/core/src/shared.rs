//! Values that are encoded once for many readers.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;

/// A shared value and its encoding. The encoding is made on first use and kept as long as the value.
pub struct Shared<T> {
    value: T,
    made: OnceLock<Bytes>,
}

impl<T> Shared<T> {
    /// Shares a value.
    pub const fn new(value: T) -> Self {
        Self { value, made: OnceLock::new() }
    }

    /// Returns the encoding, which `make` makes on the first call. Every caller must pass an equivalent `make`.
    pub fn made(&self, make: impl FnOnce(&T) -> Bytes) -> Bytes {
        self.made.get_or_init(|| make(&self.value)).clone()
    }
}

impl<T> Shared<T> {
    /// Returns the encoding, if it has been made.
    pub fn already_made(&self) -> Option<Bytes> {
        self.made.get().cloned()
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
