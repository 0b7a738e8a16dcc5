//! Connections to a PostgreSQL server, and how each session is set up.

use std::time::Duration;

use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use crate::error::OpenError;
use crate::url::PostgresUrl;

/// How long the server may take to let a connection in.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
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
const READING: &str = "SET default_transaction_read_only = on;";

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    search_path: String,
}

impl Connector {
    pub(super) fn new(url: &PostgresUrl) -> Result<Self, OpenError> {
        let mut config = url.config.clone();
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("chatsphere");
        }
        // A server that vanished without a word is noticed in seconds, not in the hours that the kernel allows.
        config.tcp_user_timeout(SILENCE);
        config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        // The name consists of letters, digits and _, so quoting it is enough.
        let search_path = url.schema.as_ref().map(|schema| format!("SET search_path TO \"{schema}\";")).unwrap_or_default();
        Ok(Self { config, tls: tls::connector(url)?, search_path })
    }

    /// A connection without limits of time, for changing the tables.
    pub(super) async fn for_migrating(&self) -> Result<Client, Error> {
        self.connect(&self.search_path).await
    }

    pub(super) async fn for_writing(&self) -> Result<Client, Error> {
        self.connect(&format!("{}{ALWAYS}{WRITING}", self.search_path)).await
    }

    /// What a reading session is set up with.
    pub(super) fn reading(&self) -> String {
        format!("{}{ALWAYS}{READING}", self.search_path)
    }

    async fn connect(&self, setup: &str) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        // Its end shows in every use of the client.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(setup).await?;
        Ok(client)
    }
}
