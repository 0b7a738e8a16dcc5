//! Opens a SQLite file and starts its threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatsphere_core::{Epoch, Store};
use metrics::{gauge, histogram};
use rusqlite::{Connection, MAIN_DB, OpenFlags};
use tokio::sync::watch;

use super::checkpoint::checkpoints;
use super::connection;
use super::database::{Sqlite, SqliteStore};
use super::disk::Disk;
use super::failure::open_error;
use super::installation;
use super::migrations;
use super::names;
use super::probe::Probe;
use super::readers::Readers;
use super::write::SqliteWriter;
use crate::error::OpenError;
use crate::health::Health;
use crate::open::MigrationReport;
use crate::options::OpenOptions;
use crate::space::Space;
use crate::write::Writes;
use crate::write::queue::Queue;
use crate::write::writer::Writer;

/// How long another process may delay the first switch to WAL mode.
const SWITCH: Duration = Duration::from_secs(5);
/// The number of threads for urgent reads, which must not wait behind pages. Each such read is short.
const URGENT_READERS: usize = 2;

pub(crate) async fn migrate(path: PathBuf, url: String) -> Result<MigrationReport, OpenError> {
    blocking(url.clone(), move || prepare(&path, &url).map(|(_, report)| report)).await
}

/// Gives the data a new epoch. Returns `None` if the database has no epoch yet.
pub(crate) async fn renew_epoch(path: PathBuf, url: String) -> Result<Option<Epoch>, OpenError> {
    blocking(url.clone(), move || {
        let (connection, _) = prepare(&path, &url)?;
        let epoch = Epoch::random();
        let renewed = connection.execute("UPDATE installation SET epoch = ?1", [epoch.as_str()]);
        Ok((renewed.map_err(|error| open_error(&url, &error))? > 0).then_some(epoch))
    })
    .await
}

pub(crate) async fn open(path: PathBuf, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let url = options.url.to_string();
    let store = blocking(url.clone(), move || start(path, &url, &options)).await?;
    Ok(Arc::new(store))
}

pub(super) async fn blocking<T: Send + 'static>(
    url: String,
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(OpenError::Failed { url, reason: error.to_string() }),
    }
}

/// Opens the file and migrates its tables.
pub(super) fn prepare(path: &Path, url: &str) -> Result<(Connection, MigrationReport), OpenError> {
    let failed = |error: rusqlite::Error| open_error(url, &error);
    let mut connection = connection::open_guarded(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(failed)?;
    if connection.is_readonly(MAIN_DB).map_err(failed)? {
        return Err(OpenError::FileReadOnly { url: url.to_owned(), reason: "its file can only be read".to_owned() });
    }
    let report = migrations::migrate(url, &mut connection)?;
    // Only now is it known that the file is a database of ChatSphere.
    switch_to_wal(&connection).map_err(failed)?;
    names::key_all(&mut connection).map_err(failed)?;
    connection::unguard(&connection).map_err(failed)?;
    Ok((connection, report))
}

/// Switches to WAL mode. If two processes do so at once, SQLite rejects one of them without waiting, so it retries.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + SWITCH;
    loop {
        match connection::use_wal(connection) {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

pub(super) fn start(path: PathBuf, url: &str, options: &OpenOptions) -> Result<SqliteStore, OpenError> {
    let (mut connection, _) = prepare(&path, url)?;
    let epoch = installation::join(url, &mut connection, &options.keys)?;
    start_threads(path, url, connection, epoch, options)
}

fn start_threads(
    path: PathBuf,
    url: &str,
    connection: Connection,
    epoch: Epoch,
    options: &OpenOptions,
) -> Result<SqliteStore, OpenError> {
    let writing = Arc::new(Health::new("writing"));
    let (checkpoints, orders) = checkpoints();
    let checkpointing = connection::open(&path).map_err(|error| open_error(url, &error))?;
    let space = Arc::new(Space::new(options.min_free != Some(0)));
    let checkpointer = {
        let (health, space, after) = (Arc::clone(&writing), Arc::clone(&space), options.truncate_after);
        thread(url, "sqlite-checkpoint", move || orders.carry_out(&checkpointing, &health, &space, after))?
    };
    let disk = Arc::new(Disk::new(&path, options.min_free, Arc::clone(&space)));
    let (watching, ended_writing) = std::sync::mpsc::channel();
    let watcher = {
        let disk = Arc::clone(&disk);
        thread(url, "sqlite-disk", move || disk.watch(&ended_writing))?
    };
    let queue = Arc::new(Queue::new(options.queue, gauge!("chatsphere_write_queue")));
    let (ended, writer_ended) = watch::channel(());
    let writer = Writer {
        database: SqliteWriter::new(connection, Arc::clone(&writing), checkpoints, disk, options.client_id_key.clone()),
        queue: Arc::clone(&queue),
        sink: Arc::clone(&options.sink),
        space,
        was_low: false,
        daily_bytes: options.daily_bytes,
        batch_messages: histogram!("chatsphere_commit_batch_messages"),
        commit_seconds: histogram!("chatsphere_commit_seconds"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| OpenError::Failed { url: url.to_owned(), reason: error.to_string() })?;
    thread(url, "sqlite-write", move || {
        let _ended = ended;
        runtime.block_on(writer.run());
        // The writer has ended, so the checkpointer gets no more orders and ends too.
        let _ = checkpointer.join();
        drop(watching);
        let _ = watcher.join();
    })?;
    let reading = Arc::new(Health::new("reading"));
    let readers = Readers::new(path.clone(), options.readers, Arc::clone(&reading));
    let urgent = Readers::new(path.clone(), URGENT_READERS, Arc::clone(&reading));
    let probe = Probe::new(path, epoch.clone(), writing, reading);
    let database = Sqlite { readers, urgent, probe: Arc::new(probe) };
    Ok(SqliteStore { writes: Writes::new(queue, Arc::clone(&options.sink), writer_ended), database, epoch })
}

fn thread(url: &str, name: &str, work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| OpenError::Failed { url: url.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
