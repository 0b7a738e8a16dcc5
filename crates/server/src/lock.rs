//! Locks that prevent a second server on a data directory or a database file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chatsphere_store::DatabaseUrl;
use tokio::time::Instant;

use crate::data_dir::DataDir;
use crate::own_file;
use crate::ownership;

/// How long a killed server may hold its locks: the kernel can take seconds to free a large process.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(50);
/// Maximum number of symbolic links followed to a database, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The locks of a server, on its data directory and beside its SQLite file. They end with the process.
#[derive(Debug)]
pub struct InstallationLock {
    _data_dir: Option<FileLock>,
    _database: Option<FileLock>,
}

/// A locked file.
#[derive(Debug)]
struct FileLock {
    _file: File,
}

/// Why the locks cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server holds one of them.
    #[error(
        "{what} is in use by another chatsphere server{}\nstop that one, or give this one another {}",
        by(*.process),
        .what.other()
    )]
    InUse {
        /// The locked object.
        what: Locked,
        /// The process that holds it, if known.
        process: Option<u32>,
    },
    /// The file has hard links, each of which would have a log and a lock of its own.
    #[error(
        "the database {path} has {names} names (hard links), and SQLite keeps a log for each of them, which spoils the \
         database\n\
         leave it one: find the others with `find DIRECTORY -samefile {path}`, and remove or copy them"
    )]
    HardLinks {
        /// The file.
        path: String,
        /// The number of its names.
        names: u64,
    },
    /// The lock file is unusable.
    #[error("{path} can't be locked: {reason}")]
    File {
        /// The file.
        path: String,
        /// The reason and the remedy.
        reason: String,
    },
}

/// The object of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// A data directory.
    DataDir(String),
    /// A SQLite file.
    Database(String),
}

impl Locked {
    fn other(&self) -> &'static str {
        match self {
            Self::DataDir(_) => "directory with --data-dir",
            Self::Database(_) => "database with --database-url or DATABASE_URL",
        }
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDir(path) => write!(f, "the data directory {path}"),
            Self::Database(path) => write!(f, "the database {path}"),
        }
    }
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

impl InstallationLock {
    /// Takes both locks. If another process holds one, logs that at once, and waits up to 10 s.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take(directory: Option<&DataDir>, database: &DatabaseUrl) -> Result<Self, LockError> {
        let until = Instant::now() + PATIENCE;
        let data_dir = match directory {
            Some(directory) => {
                let what = Locked::DataDir(directory.path().display().to_string());
                Some(FileLock::take(&directory.lock_file(), what, until).await?)
            }
            None => None,
        };
        let database = match database.sqlite_path() {
            Some(path) => {
                let file = database_file(path).map_err(|source| failed(path, &source))?;
                refuse_hard_links(&file)?;
                let what = Locked::Database(path.display().to_string());
                Some(FileLock::take(&beside(&file, ".lock"), what, until).await?)
            }
            None => None,
        };
        Ok(Self { _data_dir: data_dir, _database: database })
    }
}

impl FileLock {
    async fn take(path: &Path, what: Locked, until: Instant) -> Result<Self, LockError> {
        let mut told = false;
        loop {
            match Self::try_take(path, &what) {
                Err(LockError::InUse { process, .. }) if Instant::now() < until => {
                    if !told {
                        tracing::warn!(
                            "{what} is in use by another chatsphere server{}; waiting up to 10 s for its end",
                            by(process)
                        );
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                taken => return taken,
            }
        }
    }

    /// The kernel releases the lock when the process ends.
    fn try_take(path: &Path, what: &Locked) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = own_file::open(path, &mut options).map_err(|source| failed(path, &source))?;
        ownership::leave_to_owner_of_directory(&file, path).map_err(|source| failed(path, &source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::InUse { what: what.clone(), process: read_process(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(path, &source)),
        }
        own_file::check_only_name(&file).map_err(|source| failed(path, &source))?;
        // For the error message of a second server; the lock does not depend on it.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn failed(path: &Path, source: &io::Error) -> LockError {
    LockError::File { path: path.display().to_string(), reason: source.to_string() }
}

/// The server that runs on a directory, if any, with its process id if known. Changes nothing.
pub fn server_on(directory: &Path) -> Option<Option<u32>> {
    let mut file = own_file::open(&directory.join("lock"), OpenOptions::new().read(true)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read_process(&mut file)),
        _ => None,
    }
}

fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The canonical path of a database file, without symbolic links and relative parts.
///
/// # Errors
/// If the directory does not exist or is not accessible.
pub(crate) fn database_file(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let directory = parent.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), format!("its directory {} can't be entered: {error}", parent.display()))
        })?;
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let here = directory.join(name);
        match here.read_link() {
            // A relative target starts at the link's directory.
            Ok(target) => path = directory.join(target),
            Err(_) => return Ok(here),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// The path with a suffix appended to its name.
pub(crate) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(ending);
    name.into()
}

fn refuse_hard_links(file: &Path) -> Result<(), LockError> {
    use std::os::unix::fs::MetadataExt;

    match file.metadata() {
        Ok(found) if found.is_file() && found.nlink() > 1 => {
            Err(LockError::HardLinks { path: file.display().to_string(), names: found.nlink() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn place() -> (tempfile::TempDir, DataDir, DatabaseUrl) {
        let above = tempfile::tempdir().unwrap();
        let directory = DataDir::make(&above.path().join("data")).unwrap();
        let database = DatabaseUrl::sqlite(above.path().join("chat.db"));
        (above, directory, database)
    }

    async fn at_once(directory: &DataDir, database: &DatabaseUrl) -> Result<InstallationLock, LockError> {
        // Tokio's paused clock covers the wait in these tests.
        InstallationLock::take(Some(directory), database).await
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_at_a_time() {
        let (_above, directory, database) = place();
        assert_eq!(server_on(directory.path()), None);
        let lock = at_once(&directory, &database).await.unwrap();
        assert_eq!(server_on(directory.path()), Some(Some(std::process::id())));
        let began = Instant::now();
        let error = at_once(&directory, &database).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("--data-dir"), "{error}");
        assert!(began.elapsed() >= PATIENCE);
        drop(lock);
        at_once(&directory, &database).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_let_go_in_time_is_taken() {
        let (_above, directory, database) = place();
        let lock = at_once(&directory, &database).await.unwrap();
        let (taken, ()) = tokio::join!(at_once(&directory, &database), async {
            tokio::time::sleep(PATIENCE - RETRY * 2).await;
            drop(lock);
        });
        taken.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_server_a_database_however_it_is_named() {
        let (above, first, database) = place();
        let second = DataDir::make(&above.path().join("second")).unwrap();
        let _lock = at_once(&first, &database).await.unwrap();
        symlink(above.path(), above.path().join("loop")).unwrap();
        symlink("chat.db", above.path().join("link.db")).unwrap();
        for name in ["chat.db", "second/../chat.db", "loop/loop/chat.db", "link.db"] {
            let error = at_once(&second, &DatabaseUrl::sqlite(above.path().join(name))).await.unwrap_err();
            assert!(matches!(error, LockError::InUse { what: Locked::Database(_), .. }), "{name}: {error}");
        }
        at_once(&second, &DatabaseUrl::sqlite(above.path().join("other.db"))).await.unwrap();

        std::fs::write(above.path().join("third.db"), "").unwrap();
        std::fs::hard_link(above.path().join("third.db"), above.path().join("fourth.db")).unwrap();
        let error = at_once(&second, &DatabaseUrl::sqlite(above.path().join("fourth.db"))).await.unwrap_err();
        assert!(matches!(error, LockError::HardLinks { names: 2, .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_in_the_place_of_a_lock_is_not_followed() {
        let (above, directory, database) = place();
        let target = above.path().join("precious");
        std::fs::write(&target, "kept").unwrap();
        for lock in [directory.lock_file(), above.path().join("chat.db.lock")] {
            symlink(&target, &lock).unwrap();
            let error = at_once(&directory, &database).await.unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
            std::fs::remove_file(&lock).unwrap();
        }
    }
}
