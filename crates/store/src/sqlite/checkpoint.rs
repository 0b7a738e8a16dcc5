//! Copies commits from the write-ahead log into the database file, outside the commits: within a commit, all writes would wait
//! for the disk.
//!
//! A thread copies while the writer continues. Under steady load the copy never reaches the log's end, and the log would grow
//! without bound. So once little is left to copy, the writer copies that itself between two commits, and restarts the log from
//! its beginning. (A thread that requested the writer's lock would hardly ever get it, because SQLite's locks have no queue.)

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::wait_for_locks;
use crate::health::Health;

/// A copy begins when this many pages of 4 KiB are not copied.
const COPY_FROM: i32 = 1_000;
/// The log is restarted when it has this many pages …
const RESTART_FROM: i32 = 8_000;
/// … and at most this many are left to copy …
const RESTART_LEFT: i32 = 4_000;
/// … or when it has this many pages, however many are left to copy.
const RESTART_AT_LAST: i32 = 32_000;
/// How long [`Checkpoints::relieve`] waits for a copy that is running. On a full disk a copy fails at once.
const COPY_ENDS: Duration = Duration::from_secs(2);
/// How long the writer waits for reads that still need the log.
const READS: Duration = Duration::from_millis(100);

/// The writer's side.
pub(super) struct Checkpoints {
    orders: SyncSender<()>,
    state: Arc<State>,
    /// A read prevented the last restart of the log. The next attempt is made when the log has this many pages.
    not_before: Cell<i32>,
}

/// The thread's side.
pub(super) struct Orders {
    orders: Receiver<()>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether the thread is copying, or about to.
    copying: AtomicBool,
    /// The number of copied pages of the log.
    copied: AtomicI32,
}

pub(super) fn checkpoints() -> (Checkpoints, Orders) {
    let (sender, receiver) = sync_channel(1);
    let state = Arc::new(State::default());
    (Checkpoints { orders: sender, state: Arc::clone(&state), not_before: Cell::new(0) }, Orders { orders: receiver, state })
}

impl Checkpoints {
    /// Called after each commit with the length of the log. If `is_low` says that the disk has little space, this copies
    /// nothing, because the file would take the space that is reserved for revoking rights. [`Checkpoints::relieve`] copies
    /// then.
    pub(super) fn committed(&self, connection: &Connection, pages: i32, is_low: bool, health: &Health) {
        // SQLite restarts the log by itself when all of it is copied and nobody reads it. Then nothing of the new log is
        // copied.
        if pages < self.state.copied.load(Ordering::Acquire) {
            self.state.copied.store(0, Ordering::Release);
        }
        if is_low || self.state.copying.load(Ordering::Acquire) {
            return;
        }
        let left = pages - self.state.copied.load(Ordering::Acquire);
        if pages < RESTART_FROM {
            self.not_before.set(0);
        }
        let short_enough = pages >= RESTART_AT_LAST || left <= RESTART_LEFT;
        if pages >= RESTART_FROM.max(self.not_before.get()) && short_enough {
            if let Err(error) = self.restart(connection, pages) {
                // Nothing is lost: the log grows until a later attempt succeeds.
                health.failed(&error);
            }
        } else if left >= COPY_FROM {
            self.state.copying.store(true, Ordering::Release);
            // The thread receives orders as long as the writer exists.
            let _ = self.orders.try_send(());
        }
    }

    /// Returns the number of pages that are not copied.
    pub(super) fn uncopied(&self, pages: i32) -> i32 {
        pages - self.state.copied.load(Ordering::Acquire)
    }

    /// Copies the whole log, so that it restarts. Returns whether that succeeded. It first waits for a running copy, which
    /// would otherwise use the reserved space that the caller releases next.
    pub(super) fn relieve(&self, connection: &Connection, pages: i32) -> bool {
        let until = Instant::now() + COPY_ENDS;
        while self.state.copying.load(Ordering::Acquire) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        !self.state.copying.load(Ordering::Acquire) && self.restart(connection, pages).is_ok() && self.not_before.get() == 0
    }

    fn restart(&self, connection: &Connection, pages: i32) -> rusqlite::Result<()> {
        connection.busy_timeout(READS)?;
        let copied = checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)");
        wait_for_locks(connection)?;
        let (held_up, copied) = copied?;
        self.not_before.set(if held_up { pages + RESTART_FROM } else { 0 });
        self.state.copied.store(if held_up { copied } else { 0 }, Ordering::Release);
        Ok(())
    }
}

impl Orders {
    /// Copies at each order, until the writer is gone.
    pub(super) fn carry_out(&self, connection: &Connection, health: &Health) {
        while self.orders.recv().is_ok() {
            match checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
                Ok((_, copied)) => self.state.copied.store(copied, Ordering::Release),
                Err(error) => health.failed(&error),
            }
            self.state.copying.store(false, Ordering::Release);
        }
    }
}

/// Returns whether a lock or a read prevented the checkpoint, and how many pages of the log are copied.
fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<(bool, i32)> {
    connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(2)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::connection;

    /// Commits a row of `bytes` bytes, and returns the length of the log.
    fn insert(connection: &Connection, bytes: i32) -> i32 {
        thread_local!(static PAGES: Cell<i32> = const { Cell::new(0) });
        connection.wal_hook(Some(|_: &rusqlite::hooks::Wal, pages| {
            PAGES.set(pages);
            Ok(())
        }));
        connection.execute("INSERT INTO t VALUES (zeroblob(?))", [bytes]).unwrap();
        PAGES.get()
    }

    #[test]
    fn a_log_that_sqlite_restarted_is_counted_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.db");
        let connection = connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x BLOB)").unwrap();
        let health = Health::new("test");
        let (checkpoints, _orders) = checkpoints();
        let pages = insert(&connection, 8 * 1024 * 1024);
        let (_, copied) = checkpoint(&connection::open(&path).unwrap(), "PRAGMA wal_checkpoint(PASSIVE)").unwrap();
        assert_eq!(copied, pages);
        checkpoints.state.copied.store(copied, Ordering::Release);
        let pages = insert(&connection, 64 * 1024);
        assert!(pages < copied);
        checkpoints.committed(&connection, pages, false, &health);
        assert_eq!(checkpoints.uncopied(pages), pages);
    }
}
