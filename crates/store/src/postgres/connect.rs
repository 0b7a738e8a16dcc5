//! Connections to a PostgreSQL server that accepts writes, and the settings of each session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Cause, ReadOnly};
use super::tls;
use crate::error::OpenError;
use crate::url::PostgresUrl;

/// The time-out of a connection attempt to one server, unless `connect_timeout` sets another.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// The longest `connect_timeout` that is used, because writes wait for it.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent during a step before the connection is given up. It is longer than the server's own
/// time-outs below, so that usually the server ends what takes too long.
pub(super) const SILENCE: Duration = Duration::from_secs(12);

/// All statements find their rows by an index, and these settings keep the planner from other plans. A plan that was made while
/// a table was nearly empty stays in use while the table grows, until the server gathers statistics. For the same reason each
/// look-up within a statement is a LATERAL with a LIMIT of its own, which the planner can't reorder or replace by a scan of the
/// whole table.
const ALWAYS: &str = "SET statement_timeout = '10s';
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;
    SET enable_material = off; SET enable_memoize = off; SET jit = off;";
/// A writer that hangs in a transaction, for example on a frozen machine, must not lock the rooms for other writers. And a
/// commit must be on disk before it is answered, whatever the server's default is.
const WRITING: &str = "SET idle_in_transaction_session_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";
/// Plans for reading do not depend on values. Without this setting, the server of a filled database would plan most statements
/// again each time, which takes as long as executing them.
const READING: &str = "SET default_transaction_read_only = on; SET plan_cache_mode = force_generic_plan;";

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Migrations, without time-outs except those of each transaction.
    Migrating,
    Writing,
    Reading,
    /// Reading the database of another program, without time-outs. A standby is enough.
    Looking,
}

/// Connects to the server, of those in the URL, that accepts writes.
#[derive(Clone)]
pub(super) struct Connector {
    /// A configuration for each server, in the order of the URL.
    servers: Arc<[Config]>,
    /// The server that accepted the last connection. It is tried first.
    last: Arc<AtomicUsize>,
    tls: MakeRustlsConnect,
    search_path: String,
}

impl Connector {
    pub(super) fn new(url: &PostgresUrl) -> Result<Self, OpenError> {
        if !url.ignored.is_empty() {
            tracing::warn!(
                parameters = url.ignored.join(", "),
                "these parameters of the database URL are Prisma's and mean nothing here; reads at a time are set by \
                 database_readers"
            );
        }
        let servers = url.servers().into_iter().map(prepared).collect();
        let search_path =
            url.schema.as_ref().map(|schema| format!("SET search_path TO {};", quoted(schema))).unwrap_or_default();
        Ok(Self { servers, last: Arc::default(), tls: tls::connector(url)?, search_path })
    }

    /// Makes a connection without time-outs, for migrations.
    pub(super) async fn for_migrating(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Migrating).await.map(|(client, _)| client)
    }

    pub(super) async fn for_writing(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Writing).await.map(|(client, _)| client)
    }

    /// Makes a connection for reads, and the task that drives it.
    pub(super) async fn for_reading(&self) -> Result<(Client, JoinHandle<()>), Cause> {
        self.connect(Purpose::Reading).await
    }

    /// Makes a connection without time-outs, for reading the tables of another program.
    pub(super) async fn for_looking(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Looking).await.map(|(client, _)| client)
    }

    /// Tries one server after another, beginning with the last one that worked.
    async fn connect(&self, purpose: Purpose) -> Result<(Client, JoinHandle<()>), Cause> {
        let first = self.last.load(Ordering::Relaxed);
        let mut refused: Option<Cause> = None;
        for server in 0..self.servers.len() {
            let server = (first + server) % self.servers.len();
            let Some(config) = self.servers.get(server) else { continue };
            let limit = match purpose {
                // Only the operator waits for it, and the machine may be busy with starting.
                Purpose::Migrating | Purpose::Looking => LONGEST_CONNECT,
                Purpose::Writing | Purpose::Reading => config.get_connect_timeout().copied().unwrap_or(CONNECT),
            };
            match timeout(limit, self.open(config, purpose)).await.unwrap_or(Err(Cause::Silent)) {
                Ok(connection) => {
                    self.last.store(server, Ordering::Relaxed);
                    return Ok(connection);
                }
                // The error of a server that is read-only says more than that of one that can't be reached.
                Err(cause) if refused.is_none() || matches!(cause, Cause::ReadOnly(_)) => refused = Some(cause),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or(Cause::Silent))
    }

    async fn open(&self, config: &Config, purpose: Purpose) -> Result<(Client, JoinHandle<()>), Cause> {
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // When the connection ends, every use of the client fails.
        let task = tokio::spawn(async move { drop(connection.await) });
        // This is queried before the session is set up, because reading sessions make themselves read-only.
        let row = client.query_one("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'", &[]).await?;
        // A standby's data may be older than what was acknowledged, so it is not used for reads either.
        if purpose != Purpose::Looking && row.try_get(0)? {
            return Err(Cause::ReadOnly(ReadOnly::Standby));
        }
        if matches!(purpose, Purpose::Writing | Purpose::Migrating) && row.try_get(1)? {
            return Err(Cause::ReadOnly(ReadOnly::ByDefault));
        }
        let search_path = &self.search_path;
        let setup = match purpose {
            Purpose::Migrating | Purpose::Looking => search_path.clone(),
            Purpose::Writing => format!("{search_path}{ALWAYS}{WRITING}"),
            Purpose::Reading => format!("{search_path}{ALWAYS}{READING}"),
        };
        client.batch_execute(&setup).await?;
        Ok((client, task))
    }
}

fn prepared(mut config: Config) -> Config {
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT).min(LONGEST_CONNECT);
    config.connect_timeout(limit);
    if config.get_application_name().is_none() {
        config.application_name("chatsphere");
    }
    // With this setting a server that vanished is noticed in seconds, instead of the hours that the kernel allows.
    config.tcp_user_timeout(SILENCE);
    config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
    config
}

/// Quotes an identifier for SQL (PostgreSQL's documentation, section 4.1.1).
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
