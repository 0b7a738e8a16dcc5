//! The pool of connections for reads.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::Error;
use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{Connector, SILENCE};
use super::failure::Cause;
use crate::error::OpenError;
use crate::health::Health;
use crate::write::failure::Failure;

/// How long a read waits for a free connection.
const WAIT: Duration = Duration::from_secs(5);

/// Executes reads. Each is one statement, and so one snapshot.
pub(super) struct Reads {
    pool: Pool<Connections>,
    health: Arc<Health>,
}

/// Makes the pool's connections. Each has a time-out of its own.
struct Connections(Connector);

impl Manager for Connections {
    type Type = ClientWrapper;
    type Error = Cause;

    async fn create(&self) -> Result<ClientWrapper, Cause> {
        let (client, task) = self.0.for_reading().await?;
        Ok(ClientWrapper::new(client, task))
    }

    async fn recycle(&self, client: &mut ClientWrapper, _: &Metrics) -> RecycleResult<Cause> {
        if client.is_closed() { Err(RecycleError::message("it is closed")) } else { Ok(()) }
    }
}

impl Reads {
    pub(super) fn new(url: &str, connector: &Connector, readers: usize, health: Arc<Health>) -> Result<Self, OpenError> {
        let pool = Pool::builder(Connections(connector.clone()))
            .max_size(readers.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .build()
            .map_err(|error| OpenError::Failed { url: url.to_owned(), reason: error.to_string() })?;
        Ok(Self { pool, health })
    }

    /// Runs a statement and converts its rows into the answer.
    pub(super) async fn read<T>(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        answer: impl FnOnce(Vec<Row>) -> Result<Result<T, Error>, Cause>,
    ) -> Result<T, Error> {
        let mut rows = self.rows(sql, params).await;
        // A connection that broke while it was idle, for example because the server restarted, says nothing about the server
        // now. So the read is repeated.
        if matches!(&rows, Err(Cause::Driver(error)) if error.is_closed()) {
            rows = self.rows(sql, params).await;
        }
        match rows.and_then(answer) {
            Ok(answer) => {
                self.health.back();
                answer
            }
            Err(cause) => Err(cause.read_error(&self.health)),
        }
    }

    async fn rows(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Cause> {
        let client = self.pool.get().await?;
        let query = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let rows = match timeout(SILENCE, query).await {
            Ok(rows) => rows.map_err(Cause::from),
            Err(_) => Err(Cause::Silent),
        };
        if rows.as_ref().is_err_and(|cause| cause.meaning() == Failure::Unavailable) {
            // The session may still be executing the statement, or be broken, so it is not reused.
            drop(Object::take(client));
        }
        rows
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}
