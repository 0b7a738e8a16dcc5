//! Connections to a SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

/// How long a connection waits for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(5);
/// The pause between two attempts to get a lock.
const ATTEMPT_EVERY: Duration = Duration::from_millis(2);
/// The capacity of the cache of prepared statements, which exceeds the number of the store's statements.
const STATEMENTS: usize = 128;

/// Opens the file, and creates it if it is absent.
pub(super) fn open(path: &Path) -> Result<Connection> {
    open_with(path, OpenFlags::SQLITE_OPEN_CREATE)
}

/// Opens the file, which must exist.
pub(super) fn open_existing(path: &Path) -> Result<Connection> {
    open_with(path, OpenFlags::empty())
}

/// Opens the file, and keeps the log beside it unchanged in case of errors. Otherwise the last connection to close would apply
/// a log that may be another database's, and remove it.
pub(super) fn open_guarded(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = connect(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    set_up(connection)
}

/// Removes this protection, once the file was found intact and a database of ChatSphere.
pub(super) fn unguard(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

fn open_with(path: &Path, flags: OpenFlags) -> Result<Connection> {
    set_up(connect(path, flags)?)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    // The path is not a URI: it may contain `?` and `%`. SQLite needs no mutex, because only one thread at a time uses a
    // connection.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

fn set_up(connection: Connection) -> Result<Connection> {
    // This comes first, because the other settings may have to wait for a lock.
    wait_for_locks(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise SQLite prepares a statement again for other bound values, in case another plan is better for them. That is a
    // third of a page's cost, and plans here do not depend on values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // In WAL mode, a commit survives a power failure only with FULL.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    // Erased texts are overwritten. This is set from the start, because space that was freed before would keep its bytes.
    connection.pragma_update(None, "secure_delete", true)?;
    // After a long read has let the log grow, it is truncated to 64 MiB.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 * 1024 * 1024, |_| Ok(()))?;
    Ok(connection)
}

/// Lets the connection wait 5 s for a lock. SQLite's own handler pauses up to 100 ms between its attempts, and locks have no
/// queue: beside a process that commits without a pause, such as a busy server, a command could miss each gap between two commits.
pub(super) fn wait_for_locks(connection: &Connection) -> Result<()> {
    connection.busy_handler(Some(|attempts| {
        std::thread::sleep(ATTEMPT_EVERY);
        ATTEMPT_EVERY * attempts.unsigned_abs() < BUSY
    }))
}

/// Switches to WAL mode, in which reads do not wait for a write. The file stores this.
pub(super) fn use_wal(connection: &Connection) -> Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// Opens the file, which must exist, only for reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open_existing(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::*;

    /// Two connections of one process take part in SQLite's locking as two processes do.
    #[test]
    fn a_write_finds_the_gaps_between_the_commits_of_a_busy_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("busy.db");
        let busy = open(&path).unwrap();
        use_wal(&busy).unwrap();
        busy.execute_batch("CREATE TABLE written (number INTEGER)").unwrap();
        let command = open(&path).unwrap();
        let (held, ended) = (&AtomicBool::new(false), &AtomicBool::new(false));
        let slowest = std::thread::scope(|scope| {
            scope.spawn(move || {
                while !ended.load(Ordering::Acquire) {
                    busy.execute_batch("BEGIN IMMEDIATE; INSERT INTO written VALUES (1)").unwrap();
                    held.store(true, Ordering::Release);
                    std::thread::sleep(Duration::from_millis(20));
                    held.store(false, Ordering::Release);
                    busy.execute_batch("COMMIT").unwrap();
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
            let writes = (0..20).map(|_| {
                while !held.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                let started = Instant::now();
                let refused = command.execute("INSERT INTO written VALUES (2)", []).is_err();
                (refused, started.elapsed())
            });
            let slowest = writes.max();
            ended.store(true, Ordering::Release);
            slowest.unwrap()
        });
        assert!(slowest < (false, Duration::from_secs(3)), "{slowest:?}");
    }
}
