//! Opening a PostgreSQL database and starting its writer.

use std::sync::Arc;

use chatsphere_core::{Epoch, Store};
use metrics::{gauge, histogram};
use tokio::sync::watch;
use tokio_postgres::Client;

use super::connect::Connector;
use super::failure::Cause;
use super::installation;
use super::migrations;
use super::names;
use super::pool::Reads;
use super::store::PostgresStore;
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

/// Readers for what must not wait behind pages. Each such read is short.
const URGENT_READERS: usize = 4;
/// Nodes that start together go through this one by one. The number says nothing: it only has to be the same everywhere.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4846791580151137091)";

pub(crate) async fn migrate(location: &PostgresUrl, url: &str) -> Result<MigrationReport, OpenError> {
    let mut client = connect(&Connector::new(location)?, url).await?;
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    let report = migrations::migrate(url, &transaction).await?;
    transaction.commit().await.map_err(failed)?;
    names::key_all(&mut client, url).await?;
    Ok(report)
}

/// Gives the data another epoch; `None` where nothing was stored yet.
pub(crate) async fn renew_epoch(location: &PostgresUrl, url: &str) -> Result<Option<Epoch>, OpenError> {
    let mut client = connect(&Connector::new(location)?, url).await?;
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    migrations::migrate(url, &transaction).await?;
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
        database: PostgresWriter::new(connector, Arc::new(Health::new("writing")), Arc::clone(&writable)),
        queue: Arc::clone(&queue),
        sink: Arc::clone(&options.sink),
        // The disk is the server's, and out of sight.
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
    Ok(Arc::new(PostgresStore::new(Writes::new(queue, writer_ended), writable, reads, urgent, epoch)))
}

/// Brings the tables up to date and joins the installation, in one transaction: it becomes ours whole or not at all.
pub(super) async fn prepare(connector: &Connector, url: &str, keys: &KeyFingerprints) -> Result<Epoch, OpenError> {
    let mut client = connect(connector, url).await?;
    let failed = |error: tokio_postgres::Error| Cause::from(error).open_error(url);
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(LOCK).await.map_err(failed)?;
    migrations::migrate(url, &transaction).await?;
    let epoch = installation::join(url, &transaction, keys).await?;
    transaction.commit().await.map_err(failed)?;
    names::key_all(&mut client, url).await?;
    Ok(epoch)
}
