//! Opens a PostgreSQL database and starts its writer.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Epoch, Store};
use metrics::{gauge, histogram};
use tokio::sync::watch;
use tokio_postgres::{Client, Transaction};

use super::connect::Connector;
use super::database::{Postgres, PostgresStore};
use super::failure::Cause;
use super::index_build;
use super::installation;
use super::migrations::{self, Unfinished};
use super::names;
use super::pool::Reads;
use super::read::versions::Versions;
use super::writable::Writable;
use super::write::PostgresWriter;
use crate::error::OpenError;
use crate::fingerprints::KeyFingerprints;
use crate::health::Health;
use crate::open::MigrationReport;
use crate::options::OpenOptions;
use crate::space::Space;
use crate::url::PostgresUrl;
use crate::write::Writes;
use crate::write::queue::Queue;
use crate::write::writer::Writer;

/// The number of connections for urgent reads, which must not wait behind pages. Each such read is short.
const URGENT_READERS: usize = 4;
/// Takes the start-up lock, so that nodes that start at the same time do this one after another. The number has no meaning; it
/// must be the same on all nodes.
///
/// A migration that waits for a table makes all later statements on that table wait, reads too. So it gives up soon, and lets
/// them proceed.
const LOCK: &str = "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(4846791580151137091);
    SET LOCAL lock_timeout = '2s';";
/// The pause before a migration that gave up is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// Selects the oldest transaction that uses one of our tables. PostgreSQL shows the time when it began only to some users.
const WHO: &str = "SELECT a.pid, a.usename::text, a.application_name
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND c.relnamespace = current_schema()::regnamespace
    ORDER BY a.xact_start NULLS LAST LIMIT 1";

pub(crate) async fn migrate(location: &PostgresUrl, url: &str) -> Result<MigrationReport, OpenError> {
    let connector = Connector::new(location)?;
    let mut client = connect(&connector, url).await?;
    let report = loop {
        let tried = try_migrating(&connector, &mut client, url).await;
        if let Some(report) = unless_locked(&client, tried).await? {
            break report;
        }
    };
    names::key_all(&mut client, url).await?;
    Ok(report)
}

async fn try_migrating(connector: &Connector, client: &mut Client, url: &str) -> Result<MigrationReport, Unfinished> {
    let (transaction, report) = begin_migrated(connector, client, url).await?;
    transaction.commit().await.map_err(|error| Cause::from(error).open_error(url))?;
    Ok(report)
}

/// Begins a transaction that holds the start-up lock, and in which the tables are up to date.
async fn begin_migrated<'a>(
    connector: &Connector,
    client: &'a mut Client,
    url: &str,
) -> Result<(Transaction<'a>, MigrationReport), Unfinished> {
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    index_build::build(connector, client, url).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    let report = migrations::migrate(url, &transaction).await?;
    Ok((transaction, report))
}

/// Returns the result; `None`, after a pause, if other transactions have locked the tables.
async fn unless_locked<T>(client: &Client, tried: Result<T, Unfinished>) -> Result<Option<T>, OpenError> {
    let step = match tried {
        Ok(done) => return Ok(Some(done)),
        Err(Unfinished::Failed(error)) => return Err(error),
        Err(Unfinished::Locked(step)) => step.name,
    };
    let found = client.query_opt(WHO, &[]).await.ok().flatten();
    let text = |column| found.as_ref().and_then(|row| row.try_get::<_, Option<String>>(column).ok().flatten());
    let process = found.as_ref().and_then(|row| row.try_get::<_, i32>(0).ok());
    tracing::warn!(
        step,
        process,
        user = text(1),
        program = text(2),
        "the tables can't be changed while a long transaction uses them, a dump for example; trying again until it has ended"
    );
    tokio::time::sleep(PAUSE).await;
    Ok(None)
}

/// Gives the data a new epoch. Returns `None` if the database has no epoch yet.
pub(crate) async fn renew_epoch(location: &PostgresUrl, url: &str) -> Result<Option<Epoch>, OpenError> {
    let connector = Connector::new(location)?;
    let mut client = connect(&connector, url).await?;
    loop {
        let tried = try_renewing(&connector, &mut client, url).await;
        if let Some(renewed) = unless_locked(&client, tried).await? {
            return Ok(renewed);
        }
    }
}

async fn try_renewing(connector: &Connector, client: &mut Client, url: &str) -> Result<Option<Epoch>, Unfinished> {
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let (transaction, _) = begin_migrated(connector, client, url).await?;
    let epoch = Epoch::random();
    let renewed = transaction.execute("UPDATE installation SET epoch = $1", &[&epoch.as_str()]).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok((renewed > 0).then_some(epoch))
}

async fn connect(connector: &Connector, url: &str) -> Result<Client, OpenError> {
    connector.for_migrating().await.map_err(|cause| cause.open_error(url))
}

pub(crate) async fn open(location: &PostgresUrl, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let url = options.url.to_string();
    let connector = Connector::new(location)?;
    let epoch = prepare(&connector, &url, &options.keys).await?;
    let health = Arc::new(Health::new("reading"));
    let reads = Reads::new(&url, &connector, options.readers, Arc::clone(&health))?;
    let urgent = Reads::new(&url, &connector, URGENT_READERS, health)?;
    let writable = Arc::new(Writable::new(connector.clone()));
    let queue = Arc::new(Queue::new(options.queue, gauge!("chatsphere_write_queue")));
    let writer = Writer {
        database: PostgresWriter::new(
            connector,
            Arc::new(Health::new("writing")),
            Arc::clone(&writable),
            options.client_id_key,
        ),
        queue: Arc::clone(&queue),
        sink: Arc::clone(&options.sink),
        // The disk is the server's, and can't be checked.
        space: Arc::new(Space::new(false)),
        was_low: false,
        daily_bytes: options.daily_bytes,
        batch_messages: histogram!("chatsphere_commit_batch_messages"),
        commit_seconds: histogram!("chatsphere_commit_seconds"),
    };
    let (ended, writer_ended) = watch::channel(());
    tokio::spawn(async move {
        let _ended = ended;
        writer.run().await;
    });
    let writes = Writes::new(queue, Arc::clone(&options.sink), writer_ended);
    let reads = Arc::new(reads);
    let versions = Arc::new(Versions::new(Arc::clone(&reads)));
    Ok(Arc::new(PostgresStore { writes, database: Postgres { reads, versions, urgent, writable }, epoch }))
}

/// Migrates the tables and joins the installation, in one transaction except for large indexes, so that a start is complete or
/// has no effect.
pub(super) async fn prepare(connector: &Connector, url: &str, keys: &KeyFingerprints) -> Result<Epoch, OpenError> {
    let mut client = connect(connector, url).await?;
    let epoch = loop {
        let tried = try_preparing(connector, &mut client, url, keys).await;
        if let Some(epoch) = unless_locked(&client, tried).await? {
            break epoch;
        }
    };
    names::key_all(&mut client, url).await?;
    Ok(epoch)
}

async fn try_preparing(
    connector: &Connector,
    client: &mut Client,
    url: &str,
    keys: &KeyFingerprints,
) -> Result<Epoch, Unfinished> {
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let (transaction, _) = begin_migrated(connector, client, url).await?;
    let epoch = installation::join(url, &transaction, keys).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(epoch)
}
