//! The connections that read.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::Error;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connect::{CONNECT, Connector, SILENCE};
use super::failure::Cause;
use crate::error::OpenError;
use crate::health::Health;

/// How long a read waits for a connection that others use.
const WAIT: Duration = Duration::from_secs(5);

/// Reads, each one statement and so one snapshot.
pub(super) struct Reads {
    pool: Pool,
    health: Arc<Health>,
}

impl Reads {
    pub(super) fn new(url: &str, connector: &Connector, readers: usize, health: Arc<Health>) -> Result<Self, OpenError> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(connector.config.clone(), connector.tls.clone(), config);
        let setup: Arc<str> = connector.reading().into();
        let set_up = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let setup = Arc::clone(&setup);
            Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(readers.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .post_create(set_up)
            .build()
            .map_err(|error| OpenError::Failed { url: url.to_owned(), reason: error.to_string() })?;
        Ok(Self { pool, health })
    }

    /// Runs a statement and turns what it found into the answer.
    pub(super) async fn read<T>(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        answer: impl FnOnce(Vec<Row>) -> Result<Result<T, Error>, Cause>,
    ) -> Result<T, Error> {
        let mut rows = self.rows(sql, params).await;
        // A connection that broke while it was idle, because the server was started anew, tells nothing about the server now.
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
        match timeout(SILENCE, query).await {
            Ok(rows) => Ok(rows?),
            Err(_) => {
                // Whatever it still waits for, nobody else is to wait behind it.
                drop(Object::take(client));
                Err(Cause::Silent)
            }
        }
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}
