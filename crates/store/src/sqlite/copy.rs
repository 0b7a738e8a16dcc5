//! Copies a SQLite file while a server writes to it, and checks a copy before a restore.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chatsphere_core::Epoch;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::connection;
use super::failure::{is_disk_full, open_error};
use super::installation;
use super::migrations;
use super::start::blocking;
use crate::copy::{CheckedCopy, CopyError, Progress};
use crate::error::OpenError;

/// The pages that one step copies, some MiB. Progress is reported after each step.
const STEP: i32 = 1_024;
/// The pause before a retry, if another process has locked the copy's file.
const RETRY: Duration = Duration::from_millis(50);
/// Tables of every schema version.
const TABLES: [&str; 6] = ["schema_version", "installation", "users", "rooms", "messages", "tokens"];

pub(crate) async fn copy(path: PathBuf, url: String, to: PathBuf, progress: Progress) -> Result<u64, CopyError> {
    let work = move || Ok(copy_pages(&path, &url, &to, &progress));
    blocking("the copy".to_owned(), work).await.map_err(CopyError::Database)?
}

/// Copies all pages in one read transaction. Commits during the copy are not in it, and do not restart it.
fn copy_pages(path: &Path, url: &str, to: &Path, progress: &Progress) -> Result<u64, CopyError> {
    let failed = |error: rusqlite::Error| CopyError::Database(open_error(url, &error));
    let source = connection::open_existing(path).map_err(failed)?;
    source.pragma_update(None, "query_only", true).map_err(failed)?;
    source.execute_batch("BEGIN").map_err(failed)?;
    if migrations::found_version(url, &source).map_err(CopyError::Database)? == 0 {
        let reason = "it is empty".to_owned();
        return Err(CopyError::Database(OpenError::NotADatabase { url: url.to_owned(), reason }));
    }
    let at_target = |error: rusqlite::Error| match is_disk_full(&error) {
        true => CopyError::DiskFull { path: to.display().to_string() },
        false => CopyError::Failed { path: to.display().to_string(), reason: error.to_string() },
    };
    let mut target = open_target(to).map_err(at_target)?;
    // The caller flushes the complete copy.
    target.pragma_update(None, "synchronous", "OFF").map_err(at_target)?;
    let backup = Backup::new(&source, &mut target).map_err(at_target)?;
    loop {
        let step = backup.step(STEP).map_err(at_target)?;
        let pages = backup.progress();
        progress(share(pages.pagecount - pages.remaining), share(pages.pagecount));
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => std::thread::sleep(RETRY),
        }
    }
    drop(backup);
    drop(source);
    one_file(&target).map_err(at_target)?;
    let found = check(&target, "quick_check").map_err(at_target)?;
    if found != "ok" {
        return Err(CopyError::Unsound { reason: found });
    }
    target.close().map_err(|(_, error)| at_target(error))?;
    to.metadata()
        .map(|found| found.len())
        .map_err(|error| CopyError::Failed { path: to.display().to_string(), reason: error.to_string() })
}

fn share(pages: i32) -> u64 {
    u64::try_from(pages).unwrap_or_default()
}

/// Opens the file of the copy, which exists already with the right mode.
fn open_target(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Switches WAL mode off, so that everything is in one file, and the file can be opened in a read-only directory.
fn one_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
}

fn check(connection: &Connection, pragma: &str) -> rusqlite::Result<String> {
    connection.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get(0))
}

pub(crate) async fn check_copy(path: PathBuf) -> Result<CheckedCopy, OpenError> {
    let url = path.display().to_string();
    blocking(url.clone(), move || {
        let failed = |error: rusqlite::Error| open_error(&url, &error);
        let connection = connection::open_existing(&path).map_err(failed)?;
        let version = migrations::found_version(&url, &connection)?;
        let ours = |table: &&str| connection.table_exists(None, *table);
        for table in TABLES {
            if !ours(&table).map_err(failed)? {
                let reason = format!("it has no table \"{table}\"");
                return Err(OpenError::NotADatabase { url, reason });
            }
        }
        let found = check(&connection, "integrity_check").map_err(failed)?;
        if found != "ok" {
            return Err(OpenError::Damaged { url, reason: found, log: None });
        }
        let keys = installation::find(&connection).map_err(failed)?.map(|(_, keys)| keys);
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get(0)).map_err(failed);
        Ok(CheckedCopy {
            version,
            rooms: count("SELECT count(*) FROM rooms")?,
            users: count("SELECT count(*) FROM users")?,
            keys,
        })
    })
    .await
}

/// Gives the copy a new epoch, because a restore changes the timeline of the data. With `forget_keys` it removes the
/// fingerprints, so that the next start stores its own.
pub(crate) async fn adopt_copy(path: PathBuf, forget_keys: bool) -> Result<Option<Epoch>, OpenError> {
    let url = path.display().to_string();
    blocking(url.clone(), move || {
        let failed = |error: rusqlite::Error| open_error(&url, &error);
        let connection = connection::open_existing(&path).map_err(failed)?;
        let epoch = Epoch::random();
        let renewed = match forget_keys {
            true => connection.execute("DELETE FROM installation", []).map(|_| 0),
            false => connection.execute("UPDATE installation SET epoch = ?1", [epoch.as_str()]),
        };
        let renewed = renewed.map_err(failed)?;
        one_file(&connection).map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))?;
        Ok((renewed > 0).then_some(epoch))
    })
    .await
}

/// Copies the rest of the write-ahead log into the file, and empties the log. The server must have stopped, because this makes
/// writers wait.
pub(crate) async fn empty_log(path: PathBuf, url: String) -> Result<(), OpenError> {
    blocking(url.clone(), move || {
        let failed = |error: rusqlite::Error| open_error(&url, &error);
        // Usually the last connection has done so when it was closed.
        if super::log_of(&path).is_none() {
            return Ok(());
        }
        let connection = connection::open_existing(&path).map_err(failed)?;
        let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
        match busy {
            false => Ok(()),
            true => Err(OpenError::Failed { url, reason: "another program reads from it".to_owned() }),
        }
    })
    .await
}
