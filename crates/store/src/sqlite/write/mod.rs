//! The writing side of a SQLite file: one connection on a thread of its own.

mod control;
mod deferred_index;
mod idempotency;
mod messages;
mod rooms;
mod tokens;
mod usage;
mod users;
mod writer_cache;

use std::cell::Cell;
use std::sync::Arc;

use chatsphere_core::RoomId;
use rusqlite::Connection;
use rusqlite::hooks::Wal;
use tokio::time::Instant;

pub(super) use self::users::key_names;

use self::deferred_index::DeferredIndex;
use self::writer_cache::WriterCache;
use super::checkpoint::Checkpoints;
use super::disk::Disk;
use super::failure::{commit_failure, failure};
use crate::client_id_key::ClientIdKey;
use crate::health::Health;
use crate::write::database::Transactions;
use crate::write::failure::Failure;

/// The connection for writes. Its methods block, which is allowed on its own thread.
pub(crate) struct SqliteWriter {
    connection: Connection,
    known: WriterCache,
    lists: DeferredIndex,
    health: Arc<Health>,
    checkpoints: Checkpoints,
    disk: Arc<Disk>,
    /// Whether the transaction has erased contents.
    erased: bool,
    client_id_key: Option<ClientIdKey>,
}

thread_local! {
    /// The number of pages of the write-ahead log after this thread's last commit.
    static LOG_PAGES: Cell<i32> = const { Cell::new(0) };
}

impl SqliteWriter {
    pub(super) fn new(
        connection: Connection,
        health: Arc<Health>,
        checkpoints: Checkpoints,
        disk: Arc<Disk>,
        client_id_key: Option<ClientIdKey>,
    ) -> Self {
        // The hook also replaces SQLite's own checkpoints within commits.
        connection.wal_hook(Some(|_: &Wal, pages| {
            LOG_PAGES.set(pages);
            Ok(())
        }));
        Self {
            connection,
            known: WriterCache::default(),
            lists: DeferredIndex::default(),
            health,
            checkpoints,
            disk,
            erased: false,
            client_id_key,
        }
    }

    /// Discards what the transaction has changed in memory.
    fn forget_changes(&mut self) {
        self.known.forget();
        self.lists.forget();
        self.erased = false;
    }

    /// Runs a step of the transaction.
    fn run<T>(&self, step: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Failure> {
        step(&self.connection).map_err(|error| failure(&self.health, &error))
    }
}

impl Transactions for SqliteWriter {
    async fn begin(&mut self, _rooms: &[RoomId], _takes_rights: bool, _since: Instant) -> Result<(), Failure> {
        // Another process may write to the file too, so the lock is taken before anything is read.
        let version = self.run(|connection| {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
        })?;
        if self.known.begin(version) {
            self.lists.forget();
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let committed = self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if let Err(error) = committed {
            self.forget_changes();
            return Err(commit_failure(&self.health, &error));
        }
        self.health.back();
        if std::mem::take(&mut self.erased) {
            self.checkpoints.erased();
        }
        self.checkpoints.committed(&self.connection, LOG_PAGES.get(), self.disk.is_low(), &self.health);
        let pages = LOG_PAGES.get();
        self.disk.committed(pages, self.checkpoints.uncopied(pages));
        Ok(())
    }

    async fn relieve(&mut self, full: bool) -> bool {
        // A log that restarts reuses its space, and the file then has everything that the log had.
        let pages = LOG_PAGES.get();
        if self.checkpoints.relieve(&self.connection, pages) {
            return true;
        }
        let released = full && self.disk.release();
        // If the released reserve is too small for the copy, it is left to the log.
        if released && self.disk.reserve_holds(self.checkpoints.uncopied(pages)) {
            self.checkpoints.relieve(&self.connection, pages);
        }
        released
    }

    async fn rollback(&mut self) {
        self.forget_changes();
        // After some errors SQLite has already rolled back.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.health.failed(&error);
        }
    }
}

#[cfg(test)]
mod tests;
