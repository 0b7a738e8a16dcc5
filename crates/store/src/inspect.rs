//! Looking at a database without changing it.

use chatsphere_core::Timestamp;

use crate::error::OpenError;
use crate::fingerprints::{KeyCheck, KeyFingerprints, StoredKeys};
use crate::postgres;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// What a database is, as found without changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The version of its tables; 0 if there are none.
    pub version: u32,
    /// The version to which opening it would bring them.
    pub newest: u32,
    /// Whether tokens may have been given out on it, which only the keys that it knows can verify.
    pub knows_keys: bool,
    /// What its clock says, if it has one of its own.
    pub now: Option<Timestamp>,
}

/// Finds what [`open`](crate::open) would find, and changes nothing. Without keys it does not compare them.
///
/// # Errors
/// What `open` would answer.
pub async fn inspect(url: &DatabaseUrl, keys: Option<&KeyFingerprints>) -> Result<Inspection, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::inspect(path, url.to_string(), keys.cloned()).await,
        Kind::Postgres(location) => postgres::inspect(&location, &url.to_string(), keys).await,
    }
}

/// Compares the keys that a database knows with this node's.
pub(crate) fn compare(stored: Option<&StoredKeys>, keys: Option<&KeyFingerprints>) -> Result<(), OpenError> {
    match (stored, keys) {
        (Some(stored), Some(keys)) => match keys.check(stored) {
            KeyCheck::Same | KeyCheck::Rotated(_) => Ok(()),
            KeyCheck::Other(which) => Err(OpenError::OtherSecrets { which }),
        },
        _ => Ok(()),
    }
}
