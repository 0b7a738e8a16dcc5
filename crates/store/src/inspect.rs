//! Inspects a database without changing it.

use chatsphere_core::Timestamp;

use crate::error::OpenError;
use crate::fingerprints::{KeyCheck, KeyFingerprints, StoredKeys};
use crate::postgres;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// The properties of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The schema version; 0 if there are no tables.
    pub version: u32,
    /// The schema version to which opening would migrate the database.
    pub newest: u32,
    /// Whether the database has fingerprints of keys. Then tokens may have been minted that only these keys verify.
    pub knows_keys: bool,
    /// The time of the database's own clock, if it has one.
    pub now: Option<Timestamp>,
}

/// Finds the problems that [`open`](crate::open) would find, without changing anything. Without `keys`, they are not compared.
///
/// # Errors
/// The error that `open` would return.
pub async fn inspect(url: &DatabaseUrl, keys: Option<&KeyFingerprints>) -> Result<Inspection, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::inspect(path, url.to_string(), keys.cloned()).await,
        Kind::Postgres(location) => postgres::inspect(&location, &url.to_string(), keys).await,
    }
}

/// Compares the stored fingerprints with this node's keys.
pub(crate) fn compare(stored: Option<&StoredKeys>, keys: Option<&KeyFingerprints>) -> Result<(), OpenError> {
    match (stored, keys) {
        (Some(stored), Some(keys)) => match keys.check(stored) {
            KeyCheck::Same | KeyCheck::Rotated(_) => Ok(()),
            KeyCheck::Other(which) => Err(OpenError::OtherSecrets { which }),
        },
        _ => Ok(()),
    }
}
