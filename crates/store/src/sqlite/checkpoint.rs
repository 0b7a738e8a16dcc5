//! Copies commits from the write-ahead log into the database file, outside the commits: within a commit, all writes would wait
//! for the disk.
//!
//! A thread copies while the writer continues. Under steady load the copy never reaches the log's end, and the log would grow
//! without bound. So once little is left to copy, the writer copies that itself between two commits, and restarts the log from
//! its beginning. (A thread that requested the writer's lock would hardly ever get it, because SQLite's locks have no queue.)
//!
//! A log that restarts keeps the bytes behind its new end. So some time after contents were erased, the log is truncated: by
//! the thread, or after a commit by the writer if the thread did not get the writer's lock. It may have to wait for a backup or
//! a long read, which need the log. Commits wait for it as for a restart: for a few milliseconds of reads, and for what is left
//! to copy.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::wait_for_locks;
use crate::health::Health;
use crate::space::Space;

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

/// How long a truncation waits for reads that still need the log. Commits wait meanwhile.
const TRUNCATION_READS: Duration = Duration::from_millis(5);
/// The pause before another attempt at a truncation.
const TRUNCATION_PAUSE: Duration = Duration::from_millis(250);

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
    /// Whether a commit has erased contents since the last truncation began.
    erased: AtomicBool,
    /// Whether the writer may truncate the log after its next commit, because the thread failed to.
    offered: AtomicBool,
    /// Whether the writer has truncated the log.
    truncated: AtomicBool,
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
        if left <= RESTART_LEFT && self.state.offered.swap(false, Ordering::AcqRel) {
            match truncate(connection) {
                Ok(truncated) => self.truncated(truncated),
                Err(error) => health.failed(&error),
            }
            return;
        }
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

    fn truncated(&self, done: bool) {
        if done {
            self.state.copied.store(0, Ordering::Release);
        }
        self.state.truncated.store(done, Ordering::Release);
    }

    /// Called after a commit that erased contents: the log is truncated some time later.
    pub(super) fn erased(&self) {
        self.state.erased.store(true, Ordering::Release);
        // If an order waits already, the thread is woken by that.
        let _ = self.orders.try_send(());
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
    /// Copies at each order, and truncates the log `after` contents were erased, until the writer is gone. It begins with a
    /// truncation, because the server may have ended before the last one.
    pub(super) fn carry_out(&self, connection: &Connection, health: &Health, space: &Space, after: Duration) {
        let mut due = Some(Instant::now() + after);
        loop {
            match self.next(due) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => {
                    // On a disk with little space the log is not copied into the file: see `committed`.
                    let done = !space.is_low() && self.truncate(connection, health);
                    due = (!done).then(|| Instant::now() + TRUNCATION_PAUSE);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.state.copying.load(Ordering::Acquire) {
                let _ = self.copy(connection, health);
                self.state.copying.store(false, Ordering::Release);
            }
            if due.is_none() && self.state.erased.load(Ordering::Acquire) {
                // A truncation by the writer counts if it comes after this.
                self.state.truncated.store(false, Ordering::Release);
                due = Some(Instant::now() + after);
            }
        }
    }

    /// Waits for an order, or until a truncation is due.
    fn next(&self, due: Option<Instant>) -> Result<(), RecvTimeoutError> {
        match due {
            Some(due) => self.orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Copies what no read prevents. Returns the number of pages that are left; nothing if another checkpoint runs.
    fn copy(&self, connection: &Connection, health: &Health) -> Option<i32> {
        match connection
            .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")
            .and_then(|mut copy| copy.query_row([], |row| Ok((row.get::<_, i32>(1)?, row.get::<_, i32>(2)?))))
        {
            Ok((pages, copied)) if copied >= 0 => {
                self.state.copied.store(copied, Ordering::Release);
                Some(pages - copied)
            }
            Ok(_) => None,
            Err(error) => {
                health.failed(&error);
                None
            }
        }
    }

    /// Truncates the log, or offers that to the writer. Returns whether it is truncated.
    fn truncate(&self, connection: &Connection, health: &Health) -> bool {
        self.state.offered.store(false, Ordering::Release);
        if self.state.truncated.swap(false, Ordering::AcqRel) {
            return true;
        }
        // What is erased from now on may need another truncation.
        self.state.erased.store(false, Ordering::Release);
        // On a full disk the writer waits for a copy that is announced.
        self.state.copying.store(true, Ordering::Release);
        let truncated = self.copy_and_truncate(connection, health);
        if truncated {
            self.state.copied.store(0, Ordering::Release);
        }
        self.state.copying.store(false, Ordering::Release);
        self.state.offered.store(!truncated, Ordering::Release);
        truncated
    }

    /// Commits wait for what a truncation copies, so nearly all is copied before. After a backup or a long read that takes
    /// another attempt.
    fn copy_and_truncate(&self, connection: &Connection, health: &Health) -> bool {
        let is_short = self.copy(connection, health).is_some_and(|left| left <= RESTART_LEFT);
        is_short
            && truncate(connection).unwrap_or_else(|error| {
                health.failed(&error);
                false
            })
    }
}

/// Copies the rest of the log and truncates it. Returns whether no lock and no read prevented that.
fn truncate(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(TRUNCATION_READS)?;
    let done = checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)");
    wait_for_locks(connection)?;
    Ok(!done?.0)
}

/// Returns whether a lock or a read prevented the checkpoint, and how many pages of the log are copied.
fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<(bool, i32)> {
    connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(2)?)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::thread;

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

    /// Runs the thread beside a writer, until `work` is done.
    fn beside_the_thread(work: impl FnOnce(&Path, &Connection, &Checkpoints)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.db");
        let connection = connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x BLOB)").unwrap();
        let (checkpoints, orders) = checkpoints();
        let thread = {
            let connection = connection::open(&path).unwrap();
            let after = Duration::from_millis(20);
            thread::spawn(move || orders.carry_out(&connection, &Health::new("test"), &Space::new(false), after))
        };
        work(&path, &connection, &checkpoints);
        drop(checkpoints);
        thread.join().unwrap();
    }

    fn log_length(path: &Path) -> u64 {
        std::fs::metadata(path.with_extension("db-wal")).unwrap().len()
    }

    fn wait_for(path: &Path, wanted: impl Fn(u64) -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !wanted(log_length(path)) {
            assert!(Instant::now() < until, "the log has {} bytes", log_length(path));
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_log_of_an_idle_database_is_truncated_after_an_erasure() {
        beside_the_thread(|path, connection, checkpoints| {
            // The first truncation follows the start.
            wait_for(path, |bytes| bytes == 0);
            for _ in 0..3 {
                insert(connection, 64 * 1024);
                assert!(log_length(path) > 64 * 1024);
                checkpoints.erased();
                wait_for(path, |bytes| bytes == 0);
            }
        });
    }

    #[test]
    fn a_truncation_waits_for_a_long_read() {
        beside_the_thread(|path, connection, checkpoints| {
            wait_for(path, |bytes| bytes == 0);
            let reader = connection::open_reader(path).unwrap();
            insert(connection, 1024);
            reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
            insert(connection, 1024);
            checkpoints.erased();
            thread::sleep(4 * TRUNCATION_PAUSE);
            assert!(log_length(path) > 0);
            reader.execute_batch("COMMIT").unwrap();
            wait_for(path, |bytes| bytes == 0);
        });
    }

    #[test]
    fn the_writer_truncates_what_the_thread_could_not() {
        beside_the_thread(|path, connection, checkpoints| {
            wait_for(path, |bytes| bytes == 0);
            let health = Health::new("test");
            insert(connection, 1024 * 1024);
            let long = log_length(path);
            // The thread never finds the writer's lock free.
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            checkpoints.erased();
            while !checkpoints.state.offered.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
            }
            connection.execute_batch("COMMIT").unwrap();
            checkpoints.committed(connection, 300, false, &health);
            wait_for(path, |bytes| bytes < long);
        });
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
