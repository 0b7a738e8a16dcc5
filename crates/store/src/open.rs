//! Opening a store, and bringing a database's tables up to date.

use std::sync::Arc;

use chatsphere_core::{Epoch, Store};

use crate::error::OpenError;
use crate::options::OpenOptions;
use crate::postgres;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// What [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The version of the tables before; 0 if there were none.
    pub from: u32,
    /// The version of the tables now.
    pub to: u32,
    /// The names of the steps that were taken, in order. Empty if the tables were up to date.
    pub applied: Vec<&'static str>,
}

/// Opens a database, makes or updates its tables if needed, and starts its writer. Several nodes may do this at the same
/// time. Must be called within a tokio runtime.
///
/// Register the metrics recorder before, or the store's metrics are lost.
pub async fn open(options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    match options.url.kind().clone() {
        Kind::Sqlite(path) => sqlite::open(path, options).await,
        Kind::Postgres(location) => postgres::open(&location, options).await,
    }
}

/// Makes or updates a database's tables and does nothing else.
pub async fn migrate(url: &DatabaseUrl) -> Result<MigrationReport, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::migrate(path, url.to_string()).await,
        Kind::Postgres(location) => postgres::migrate(&location, &url.to_string()).await,
    }
}

/// Gives the data another epoch, as after a restore: clients then know that their cursors are worth nothing. `None` where
/// nothing was stored yet. No server may be running on the database: it would go on telling the old one.
pub async fn renew_epoch(url: &DatabaseUrl) -> Result<Option<Epoch>, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::renew_epoch(path, url.to_string()).await,
        Kind::Postgres(location) => postgres::renew_epoch(&location, &url.to_string()).await,
    }
}
