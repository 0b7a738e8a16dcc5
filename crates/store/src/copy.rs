//! Copies of a SQLite database, as backups are made and put back. PostgreSQL has its own tools.

use std::path::Path;

use chatsphere_core::Epoch;

use crate::error::OpenError;
use crate::fingerprints::{KeyFingerprints, StoredKeys};
use crate::inspect::compare;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// Called with how many pages are copied, of how many.
pub type Progress = Box<dyn Fn(u64, u64) + Send>;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// PostgreSQL is copied by its own tools.
    #[error("the database is not SQLite")]
    NotSqlite,
    /// The database can't be read.
    #[error(transparent)]
    Database(OpenError),
    /// No space is left where the copy is made.
    #[error("no space is left for {path}; make space, or name a file on another disk")]
    DiskFull {
        /// Of the copy.
        path: String,
    },
    /// The copy is damaged, most likely because the database is.
    #[error(
        "the copy is damaged, so the database probably is too: {reason}\nkeep older backups, stop the server, and look at its \
         disk"
    )]
    Unsound {
        /// What SQLite found.
        reason: String,
    },
    /// Anything else.
    #[error("{path} can't be written: {reason}")]
    Failed {
        /// Of the copy.
        path: String,
        /// What SQLite said.
        reason: String,
    },
}

/// A copy that is sound and ours.
#[derive(Debug)]
pub struct CheckedCopy {
    /// The version of its tables, which this program knows.
    pub version: u32,
    /// How many rooms are in it.
    pub rooms: i64,
    /// How many users are in it.
    pub users: i64,
    pub(crate) keys: Option<StoredKeys>,
}

impl CheckedCopy {
    /// Whether a node with these keys can start on it.
    ///
    /// # Errors
    /// [`OpenError::OtherSecrets`].
    pub fn compare(&self, keys: &KeyFingerprints) -> Result<(), OpenError> {
        compare(self.keys.as_ref(), Some(keys))
    }

    /// Whether tokens were given out on it, which only the keys that it knows can verify.
    pub fn knows_keys(&self) -> bool {
        self.keys.is_some()
    }
}

/// Copies the database into a file that is there and empty, as it is at one moment, while servers write to it. Answers how many
/// bytes the copy has. The copy is checked, and not flushed yet.
///
/// # Errors
/// [`CopyError`].
pub async fn copy(url: &DatabaseUrl, to: &Path, progress: Progress) -> Result<u64, CopyError> {
    match url.kind() {
        Kind::Sqlite(path) => sqlite::copy(path.clone(), url.to_string(), to.to_owned(), progress).await,
        Kind::Postgres(_) => Err(CopyError::NotSqlite),
    }
}

/// Checks a copy from the first page to the last: that it is sound, ours, and of no newer version. May write beside it.
///
/// # Errors
/// [`OpenError`].
pub async fn check_copy(path: &Path) -> Result<CheckedCopy, OpenError> {
    sqlite::check_copy(path.to_owned()).await
}

/// Makes a checked copy ready to be the database: another epoch, and all of it in one file. With `forget_keys` it takes the
/// secrets of the node that is started on it next. Answers the epoch, if the copy has one yet.
///
/// # Errors
/// [`OpenError`].
pub async fn adopt_copy(path: &Path, forget_keys: bool) -> Result<Option<Epoch>, OpenError> {
    sqlite::adopt_copy(path.to_owned(), forget_keys).await
}

/// After a server has stopped: sees to it that SQLite's file alone holds everything. Does nothing on PostgreSQL.
///
/// # Errors
/// [`OpenError`]. Then the write-ahead log beside the file holds the rest, and nothing is lost.
pub async fn empty_log(url: &DatabaseUrl) -> Result<(), OpenError> {
    match url.kind() {
        Kind::Sqlite(path) => sqlite::empty_log(path.clone(), url.to_string()).await,
        Kind::Postgres(_) => Ok(()),
    }
}
