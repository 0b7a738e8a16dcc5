//! Connections to a PostgreSQL server that takes writes, and how each session is set up.

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

/// How long one server may take to let a connection in, unless `connect_timeout` says otherwise.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// The longest `connect_timeout` that is followed: writes wait for it.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);
/// How long the server may be silent in the middle of something before it is given up. Longer than the server's own time
/// limits below, so that usually it is the server that ends what takes too long.
pub(super) const SILENCE: Duration = Duration::from_secs(12);

/// All statements find their rows by an index. The planner is kept from preferring anything else: a
/// plan made while a table was nearly empty stays in use while it grows, until the server gathers statistics. For the same
/// reason each look-up within a statement is a LATERAL of its own with a LIMIT, which the planner can neither turn round nor
/// replace by a walk over the whole table.
const ALWAYS: &str = "SET statement_timeout = '10s';
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;
    SET enable_material = off; SET enable_memoize = off; SET jit = off;";
/// A writer that hangs in mid-transaction, on a machine that was frozen for example, must not keep the others from their
/// rooms; and a commit is on disk when it answers, whatever the server's default is.
const WRITING: &str = "SET idle_in_transaction_session_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";
/// Plans for reading do not depend on values, but in a database that is filled the server would plan most statements anew each
/// time, which takes as long as carrying them out.
const READING: &str = "SET default_transaction_read_only = on; SET plan_cache_mode = force_generic_plan;";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Changing the tables, without limits of time but those of each transaction.
    Migrating,
    Writing,
    Reading,
    /// Reading what is not ours, for as long as it takes. A standby will do.
    Looking,
}

/// Makes connections to the one server among those named that takes writes.
#[derive(Clone)]
pub(super) struct Connector {
    /// One configuration a server, in the order of the URL.
    servers: Arc<[Config]>,
    /// The server that let the last connection in. It is tried first.
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

    /// A connection without limits of time, for changing the tables.
    pub(super) async fn for_migrating(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Migrating).await.map(|(client, _)| client)
    }

    pub(super) async fn for_writing(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Writing).await.map(|(client, _)| client)
    }

    /// A connection that reads, and the task behind it.
    pub(super) async fn for_reading(&self) -> Result<(Client, JoinHandle<()>), Cause> {
        self.connect(Purpose::Reading).await
    }

    /// A connection without limits of time that reads another program's tables.
    pub(super) async fn for_looking(&self) -> Result<Client, Cause> {
        self.connect(Purpose::Looking).await.map(|(client, _)| client)
    }

    /// Asks one server after the other, beginning with the one that was right last time.
    async fn connect(&self, purpose: Purpose) -> Result<(Client, JoinHandle<()>), Cause> {
        let first = self.last.load(Ordering::Relaxed);
        let mut refused: Option<Cause> = None;
        for server in 0..self.servers.len() {
            let server = (first + server) % self.servers.len();
            let Some(config) = self.servers.get(server) else { continue };
            let limit = match purpose {
                // Nobody waits for it but the operator, and the machine may be busy starting.
                Purpose::Migrating | Purpose::Looking => LONGEST_CONNECT,
                Purpose::Writing | Purpose::Reading => config.get_connect_timeout().copied().unwrap_or(CONNECT),
            };
            match timeout(limit, self.open(config, purpose)).await.unwrap_or(Err(Cause::Silent)) {
                Ok(connection) => {
                    self.last.store(server, Ordering::Relaxed);
                    return Ok(connection);
                }
                // One that is there and takes no writes tells more than one that is not there.
                Err(cause) if refused.is_none() || matches!(cause, Cause::ReadOnly(_)) => refused = Some(cause),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or(Cause::Silent))
    }

    async fn open(&self, config: &Config, purpose: Purpose) -> Result<(Client, JoinHandle<()>), Cause> {
        let (client, connection) = config.connect(self.tls.clone()).await?;
        // Its end shows in every use of the client.
        let task = tokio::spawn(async move { drop(connection.await) });
        // Before the session is set up: reading sessions make themselves read-only.
        let row = client.query_one("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'", &[]).await?;
        // What a standby shows may be older than what was acknowledged, so it is not good enough for reading either.
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
    // A server that vanished without a word is noticed in seconds, not in the hours that the kernel allows.
    config.tcp_user_timeout(SILENCE);
    config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
    config
}

/// An identifier as SQL (PostgreSQL's documentation, section 4.1.1).
pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
