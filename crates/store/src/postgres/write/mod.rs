//! The writing side of a PostgreSQL database: one connection, which is replaced whenever it breaks.

mod control;
mod idempotency;
mod keys;
mod messages;
mod rights;
mod rooms;
mod session;
mod tokens;
mod usage;
mod users;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{ControlChange, RoomId};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use self::session::Session;
use super::connect::{CONNECT, Connector, SILENCE};
use super::failure::Cause;
use super::writable::Writable;
use crate::client_id_key::ClientIdKey;
use crate::health::Health;
use crate::write::database::Transactions;
use crate::write::failure::Failure;

/// How long a write waits for an unavailable database, from its submission on. This is enough for a restart or a quick
/// failover, and short enough for a waiting user.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between attempts to connect: the first, doubled each time up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The connection for writes, if there is one.
pub(super) struct PostgresWriter {
    connector: Connector,
    session: Option<Session>,
    health: Arc<Health>,
    writable: Arc<Writable>,
    client_id_key: Option<ClientIdKey>,
}

impl PostgresWriter {
    pub(super) fn new(
        connector: Connector,
        health: Arc<Health>,
        writable: Arc<Writable>,
        client_id_key: Option<ClientIdKey>,
    ) -> Self {
        Self { connector, session: None, health, writable, client_id_key }
    }

    /// Runs a step of the transaction: a statement, or several that the connection sends together.
    async fn run<T, F>(&mut self, step: impl FnOnce(Session) -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Cause>> + Send,
    {
        let Some(session) = self.session.clone() else { return Err(Failure::Unavailable) };
        match timeout(SILENCE, step(session)).await.unwrap_or(Err(Cause::Silent)) {
            Ok(value) => Ok(value),
            Err(cause) => Err(self.failed(&cause)),
        }
    }

    /// Runs one statement as a step.
    async fn query(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        self.run(|session| async move { session.query(sql, params).await }).await
    }

    /// Converts the error of reading a step's rows.
    fn read<T>(&mut self, value: Result<T, Cause>) -> Result<T, Failure> {
        value.map_err(|cause| self.failed(&cause))
    }

    fn failed(&mut self, cause: &Cause) -> Failure {
        let failure = cause.failure(&self.health);
        if failure == Failure::Unavailable {
            // When a connection is lost, the server rolls back its transaction.
            self.session = None;
            self.writable.lost();
        }
        failure
    }

    /// Connects if there is no connection. Tries until `deadline`, but at least once.
    async fn connect(&mut self, deadline: Instant) -> Result<(), Failure> {
        if self.session.as_ref().is_some_and(|session| !session.is_closed()) {
            return Ok(());
        }
        let mut pause = PAUSE.0;
        loop {
            match self.connector.for_writing().await {
                Ok(client) => {
                    self.session = Some(Session::new(client));
                    return Ok(());
                }
                Err(cause) => drop(cause.failure(&self.health)),
            }
            self.writable.lost();
            if Instant::now() + pause >= deadline {
                return Err(Failure::Unavailable);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Removes from the cache what the transaction has changed.
    fn forget_rights(&self, changes: impl IntoIterator<Item = ControlChange>) {
        if let Some(session) = &self.session {
            session.forget_rights(changes);
        }
    }

    async fn try_begin(&mut self, rooms: &[RoomId], takes_rights: bool) -> Result<(), Failure> {
        let ids: Vec<_> = rooms.iter().map(|room| *room.as_uuid()).collect();
        self.run(|session| async move { session.begin(&ids, takes_rights).await }).await
    }
}

impl Transactions for PostgresWriter {
    async fn begin(&mut self, rooms: &[RoomId], takes_rights: bool, since: Instant) -> Result<(), Failure> {
        let deadline = since + PATIENCE;
        loop {
            self.connect(deadline).await?;
            match self.try_begin(rooms, takes_rights).await {
                // The connection broke after its last use, which shows only now. Nothing of this transaction was sent, so a new
                // connection is tried.
                Err(Failure::Unavailable) if Instant::now() < deadline => sleep(PAUSE.0).await,
                result => return result,
            }
        }
    }

    async fn commit(&mut self) -> Result<(), Failure> {
        let Some(session) = self.session.clone().filter(|session| !session.is_closed()) else {
            self.session = None;
            return Err(Failure::Unavailable);
        };
        let deadline = Instant::now() + SILENCE;
        let committed = timeout_at(deadline, session.execute("COMMIT")).await.unwrap_or(Err(Cause::Silent));
        if let Err(cause) = committed {
            let failure = cause.commit_failure(&self.health);
            if failure == Failure::OutcomeUnknown || failure == Failure::Unavailable {
                self.session = None;
                self.writable.lost();
            }
            return Err(failure);
        }
        self.health.back();
        self.writable.committed();
        Ok(())
    }

    async fn relieve(&mut self, _full: bool) -> bool {
        false
    }

    async fn rollback(&mut self) {
        let Some(session) = self.session.clone() else { return };
        session.forget();
        if !matches!(timeout(CONNECT, session.execute("ROLLBACK")).await, Ok(Ok(()))) {
            self.session = None;
        }
    }
}
