//! Whether the file that the store was opened on can still be read and written.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Epoch, Error, Unavailable};
use rusqlite::Connection;
use rustix::fs::{Access, access};

use super::connection;
use super::failure::{failure, is_disk_full};
use super::readers::Stop;
use crate::health::Health;

/// How long a test write waits for the writer: below the time-out of a probe.
const BUSY: Duration = Duration::from_millis(300);

/// Looks at the file anew, since connections that are open see their cached pages, through descriptors of a better time.
pub(super) struct Probe {
    path: PathBuf,
    epoch: Epoch,
    /// Device and inode, where they could be read.
    file: Option<(u64, u64)>,
    writing: Arc<Health>,
    reading: Arc<Health>,
    looking: Health,
}

/// What a look found.
enum Found {
    Sql(rusqlite::Error),
    Unusable(&'static str),
}

impl From<rusqlite::Error> for Found {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Probe {
    pub(super) fn new(path: PathBuf, epoch: Epoch, writing: Arc<Health>, reading: Arc<Health>) -> Self {
        let file = identity(&path);
        Self { path, epoch, file, writing, reading, looking: Health::new("probing") }
    }

    /// Fails where the file is damaged, read-only, gone, or another one, or does not answer on this connection.
    pub(super) fn look(&self, connection: &Connection) -> Result<(), Stop> {
        let sql = "SELECT count(*) = 1 FROM installation";
        let answered: bool = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        if !answered {
            return Err(Stop::Refused(Error::Internal));
        }
        if [&*self.writing, &*self.reading, &self.looking].into_iter().any(Health::is_damaged) {
            return Err(Stop::Refused(Unavailable::StoreAway.into()));
        }
        match self.find() {
            Ok(()) => {
                self.looking.back();
                return Ok(());
            }
            Err(Found::Sql(error)) => drop(failure(&self.looking, &error)),
            Err(Found::Unusable(why)) => self.looking.away(&why),
        }
        Err(Stop::Refused(Unavailable::StoreAway.into()))
    }

    fn find(&self) -> Result<(), Found> {
        if self.file.is_some() && identity(&self.path) != self.file {
            return Err(Found::Unusable(
                "its file was removed or replaced while the server runs on it; stop the server, and look at the file",
            ));
        }
        // Not by opening it: SQLite reuses descriptors, and closing one of another's making would let go of SQLite's locks.
        if access(&self.path, Access::READ_OK | Access::WRITE_OK).is_err() {
            return Err(Found::Unusable(
                "its file can't be written; look at its owner, its mode, and whether its disk is mounted read-only",
            ));
        }
        let connection = connection::open_existing(&self.path)?;
        let epoch: String = connection.query_row("SELECT epoch FROM installation", [], |row| row.get(0))?;
        if epoch != self.epoch.as_str() {
            return Err(Found::Unusable("its content was replaced while the server runs on it; restart the server"));
        }
        // Without a write that succeeds nobody would ever know that the cause of one that failed is gone.
        if self.writing.is_away() {
            connection.busy_timeout(BUSY)?;
            match connection.execute("UPDATE installation SET epoch = epoch", []) {
                Ok(_) => self.writing.back(),
                // Then reading works, and each write is told by itself.
                Err(error) if is_disk_full(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}
