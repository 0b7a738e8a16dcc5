//! Opens a store, and migrates a database.

use std::sync::Arc;

use chatsphere_core::{Epoch, Store};

use crate::error::OpenError;
use crate::options::OpenOptions;
use crate::postgres;
use crate::sqlite;
use crate::url::{DatabaseUrl, Kind};

/// The result of [`migrate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The schema version before; 0 if there were no tables.
    pub from: u32,
    /// The schema version now.
    pub to: u32,
    /// The names of the migrations that were run, in order. Empty if the tables were up to date.
    pub applied: Vec<&'static str>,
}

/// Opens a database, creates or migrates its tables if needed, and starts its writer. Several nodes may do this at the same
/// time. Must be called within a tokio runtime.
///
/// Register the metrics recorder before this call, or the store's metrics are lost.
pub async fn open(options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    match options.url.kind().clone() {
        Kind::Sqlite(path) => sqlite::open(path, options).await,
        Kind::Postgres(location) => postgres::open(&location, options).await,
    }
}

/// Creates or migrates a database's tables, and does nothing else.
pub async fn migrate(url: &DatabaseUrl) -> Result<MigrationReport, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::migrate(path, url.to_string()).await,
        Kind::Postgres(location) => postgres::migrate(&location, &url.to_string()).await,
    }
}

/// Gives the data a new epoch, as after a restore. It tells clients that their cursors refer to other data. Returns `None` if
/// the database has no epoch yet. No server may run on the database, because it would keep sending the old epoch.
pub async fn renew_epoch(url: &DatabaseUrl) -> Result<Option<Epoch>, OpenError> {
    match url.kind().clone() {
        Kind::Sqlite(path) => sqlite::renew_epoch(path, url.to_string()).await,
        Kind::Postgres(location) => postgres::renew_epoch(&location, &url.to_string()).await,
    }
}
