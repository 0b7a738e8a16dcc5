//! Copies of a SQLite database for backups and restores. PostgreSQL has its own tools.

use std::path::Path;

use chatsphere_core::Epoch;

use crate::error::OpenError;
use crate::fingerprints::{KeyFingerprints, StoredKeys};
use crate::inspect::compare;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// A callback with the number of copied pages and the number of all pages.
pub type Progress = Box<dyn Fn(u64, u64) + Send>;

/// Why copying failed.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database is PostgreSQL, which has its own tools for copies.
    #[error("the database is not SQLite")]
    NotSqlite,
    /// The database can't be read.
    #[error(transparent)]
    Database(OpenError),
    /// The disk of the copy has no space left.
    #[error("no space is left for {path}; make space, or name a file on another disk")]
    DiskFull {
        /// The path of the copy.
        path: String,
    },
    /// The copy is damaged, most likely because the database is.
    #[error(
        "the copy is damaged, so the database probably is too: {reason}\nkeep older backups, stop the server, and look at its \
         disk"
    )]
    Unsound {
        /// The result of SQLite's check.
        reason: String,
    },
    /// Any other error.
    #[error("{path} can't be written: {reason}")]
    Failed {
        /// The path of the copy.
        path: String,
        /// SQLite's error.
        reason: String,
    },
}

/// A copy that is intact and a database of ChatSphere.
#[derive(Debug)]
pub struct CheckedCopy {
    /// The schema version, which this program knows.
    pub version: u32,
    /// The number of rooms.
    pub rooms: i64,
    /// The number of users.
    pub users: i64,
    pub(crate) keys: Option<StoredKeys>,
}

impl CheckedCopy {
    /// Checks that a node with these keys can start on the copy.
    ///
    /// # Errors
    /// [`OpenError::OtherSecrets`].
    pub fn compare(&self, keys: &KeyFingerprints) -> Result<(), OpenError> {
        compare(self.keys.as_ref(), Some(keys))
    }

    /// Whether the copy has fingerprints of keys. Then tokens may have been minted that only these keys verify.
    pub fn knows_keys(&self) -> bool {
        self.keys.is_some()
    }
}

/// Copies the database, as it is at one moment, into an existing empty file. Servers may write to the database meanwhile. The
/// copy is checked, and is not flushed to disk yet. Returns its size in bytes.
///
/// # Errors
/// [`CopyError`].
pub async fn copy(url: &DatabaseUrl, to: &Path, progress: Progress) -> Result<u64, CopyError> {
    match url.kind() {
        Kind::Sqlite(path) => sqlite::copy(path.clone(), url.to_string(), to.to_owned(), progress).await,
        Kind::Postgres(_) => Err(CopyError::NotSqlite),
    }
}

/// Checks a copy from the first page to the last: it must be intact, a database of ChatSphere, and not of a newer schema
/// version. May create files beside it.
///
/// # Errors
/// [`OpenError`].
pub async fn check_copy(path: &Path) -> Result<CheckedCopy, OpenError> {
    sqlite::check_copy(path.to_owned()).await
}

/// Prepares a checked copy for use as the database: it gets a new epoch, and everything is moved into one file. With
/// `forget_keys` the fingerprints are removed, so that the next node that starts on it stores its own. Returns the new epoch,
/// or `None` if the copy has none yet.
///
/// # Errors
/// [`OpenError`].
pub async fn adopt_copy(path: &Path, forget_keys: bool) -> Result<Option<Epoch>, OpenError> {
    sqlite::adopt_copy(path.to_owned(), forget_keys).await
}

/// Moves everything from SQLite's write-ahead log into the database file. Call it after the server has stopped. Does nothing on
/// PostgreSQL.
///
/// # Errors
/// [`OpenError`]. The rest is then still in the write-ahead log, and nothing is lost.
pub async fn empty_log(url: &DatabaseUrl) -> Result<(), OpenError> {
    match url.kind() {
        Kind::Sqlite(path) => sqlite::empty_log(path.clone(), url.to_string()).await,
        Kind::Postgres(_) => Ok(()),
    }
}
