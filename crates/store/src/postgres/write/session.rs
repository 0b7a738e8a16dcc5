//! One connection with its prepared statements.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::keys::{Keys, unknown};
use crate::postgres::failure::Cause;

/// Cheap to clone. What several clones send at once goes out together and is carried out in that order.
#[derive(Clone)]
pub(super) struct Session {
    client: Arc<Client>,
    statements: Arc<Mutex<HashMap<&'static str, Statement>>>,
    keys: Arc<Mutex<Keys>>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client: Arc::new(client), statements: Arc::default(), keys: Arc::default() }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a transaction and locks the rooms' rows, in the order of their ids as every node does: so two can't wait for each
    /// other. What is read from the next statement on is newer than the locks, since each statement has a snapshot of its own.
    pub(super) async fn begin(&self, rooms: &[Uuid]) -> Result<(), Cause> {
        let lock = "SELECT FROM rooms WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
        let lock = self.prepare(lock).await?;
        let begin = self.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
        if rooms.is_empty() {
            return begin.await;
        }
        let locked = async { Ok(self.client.execute(&lock, &[&rooms]).await?) };
        tokio::try_join!(biased; begin, locked).map(drop)
    }

    /// Runs a statement without parameters.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Cause> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Cause> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    /// How many rows it changed.
    pub(super) async fn change(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, Cause> {
        let statement = self.prepare(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    /// Learns the keys of these rooms and users, those that exist, and shows what is known.
    pub(super) async fn with_keys<T>(&self, rooms: &[Uuid], users: &[Uuid], look: impl FnOnce(&Keys) -> T) -> Result<T, Cause> {
        let (rooms, users) = {
            let mut keys = self.keys();
            keys.bound();
            (unknown(&keys.rooms, rooms), unknown(&keys.users, users))
        };
        if !rooms.is_empty() || !users.is_empty() {
            let (rooms, users) = tokio::try_join!(
                async { self.query("SELECT id, pk FROM rooms WHERE id = ANY ($1)", &[&rooms]).await },
                async { self.query("SELECT id, pk FROM users WHERE id = ANY ($1)", &[&users]).await },
            )?;
            let mut keys = self.keys();
            for row in rooms {
                keys.rooms.insert(row.try_get(0)?, row.try_get(1)?);
            }
            for row in users {
                keys.users.insert(row.try_get(0)?, row.try_get(1)?);
            }
        }
        Ok(look(&self.keys()))
    }

    /// A transaction is undone: the rows that it made had keys, too.
    pub(super) fn forget_keys(&self) {
        *self.keys() = Keys::default();
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, Cause> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement.clone());
        Ok(statement)
    }
}
