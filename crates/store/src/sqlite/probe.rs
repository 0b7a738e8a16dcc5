//! Checks that the file on which the store was opened can still be read and written.

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

/// How long a test write waits for the writer, which is less than the time-out of a probe.
const BUSY: Duration = Duration::from_millis(300);

/// Checks the file itself, because open connections use their cached pages and older descriptors.
pub(super) struct Probe {
    path: PathBuf,
    epoch: Epoch,
    /// Device and inode, if they could be read.
    file: Option<(u64, u64)>,
    writing: Arc<Health>,
    reading: Arc<Health>,
    looking: Health,
}

/// The result of a check.
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

    /// Fails if the file is damaged, read-only, removed or replaced, or does not answer on this connection.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), Stop> {
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
        // This does not open the file: closing a descriptor of it would release SQLite's locks (POSIX advisory locks belong to
        // the process).
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
        // Only a successful write shows that the cause of a failed one is gone.
        if self.writing.is_away() {
            connection.busy_timeout(BUSY)?;
            match connection.execute("UPDATE installation SET epoch = epoch", []) {
                Ok(_) => self.writing.back(),
                // On a full disk reads work, and each write reports its own error.
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
