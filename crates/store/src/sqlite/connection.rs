//! Connections to a SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Result};

/// How long a connection waits for a lock that another process holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// More than the number of statements that the store has.
const STATEMENTS: usize = 128;

/// Opens the file, making it if it is absent.
pub(super) fn open(path: &Path) -> Result<Connection> {
    open_with(path, OpenFlags::SQLITE_OPEN_CREATE)
}

/// Opens the file, which has to be there.
pub(super) fn open_existing(path: &Path) -> Result<Connection> {
    open_with(path, OpenFlags::empty())
}

/// Opens the file, and leaves the log beside it as it is, whatever fails: the last connection that is closed would otherwise
/// take in a log that may be another database's, and remove it.
pub(super) fn open_guarded(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = connect(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    set_up(connection)
}

/// Ends the guard, once the file was found sound and ours.
pub(super) fn unguard(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop)
}

fn open_with(path: &Path, flags: OpenFlags) -> Result<Connection> {
    set_up(connect(path, flags)?)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection> {
    // No URI: a path may contain `?` and `%`. No mutex: a connection is used by one thread at a time.
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

fn set_up(connection: Connection) -> Result<Connection> {
    // First of all, since the others may meet a lock.
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise statements are prepared anew whenever other values are bound, in case another plan were better for those:
    // a third of what a page costs. Plans here do not depend on values.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // In WAL mode, FULL is what makes a commit survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -16_000)?;
    // Texts that are emptied are overwritten. From the start: what was freed before would keep its bytes.
    connection.pragma_update(None, "secure_delete", true)?;
    // A log that a long read let grow gives its space back, down to 64 MiB.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 * 1024 * 1024, |_| Ok(()))?;
    Ok(connection)
}

/// Lets reads go on during a write. The file remembers it.
pub(super) fn use_wal(connection: &Connection) -> Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
}

/// Opens the file, which has to be there, for reading alone.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open_existing(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}
