//! The store on a SQLite file: one writer on a thread of its own, and threads for reads.

mod checkpoint;
mod connection;
mod copy;
mod database;
mod disk;
mod failure;
mod import;
mod inspect;
mod installation;
mod message_lists;
mod migrations;
mod names;
mod probe;
mod read;
mod readers;
mod rows;
mod start;
mod write;

use std::path::{Path, PathBuf};

pub(crate) use copy::{adopt_copy, check_copy, copy, empty_log};
pub(crate) use import::SqliteTarget;
pub(crate) use inspect::inspect;
pub(crate) use start::{migrate, open, renew_epoch};
#[cfg(test)]
pub(crate) use write::SqliteWriter;

/// Returns the path of the write-ahead log beside a database, if it is not empty.
fn log_of(path: &Path) -> Option<PathBuf> {
    let mut name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push("-wal");
    let log = PathBuf::from(name);
    log.metadata().is_ok_and(|found| found.len() > 0).then_some(log)
}
