//! Whether the server accepts writes. `ping` must know it also while nobody writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chatsphere_core::{Error, Unavailable};
use tokio::time::timeout;

use super::connect::{Connector, SILENCE};
use super::failure::{Cause, ReadOnly};
use super::pool::Reads;

/// Queries whether the server would accept the writer's statements. The reading sessions make themselves read-only, so the
/// default from before that is queried.
const TAKES_WRITES: &str = "SELECT NOT pg_is_in_recovery()
    AND (SELECT reset_val = 'off' FROM pg_settings WHERE name = 'default_transaction_read_only')
    AND has_table_privilege('messages', 'INSERT') AND has_table_privilege('rooms', 'UPDATE')
    AND has_table_privilege('control_log', 'INSERT')
    FROM installation";

/// The writer's last result, and how to find out whether a failure is over.
pub(super) struct Writable {
    connector: Connector,
    away: AtomicBool,
    /// Whether a probe is running. Only one runs at a time.
    probing: AtomicBool,
}

/// A running probe. Dropping it permits the next one.
struct Probing(Arc<Writable>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Relaxed);
    }
}

impl Writable {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, away: AtomicBool::new(false), probing: AtomicBool::new(false) }
    }

    /// The writer has committed.
    pub(super) fn committed(&self) {
        if self.away.load(Ordering::Relaxed) {
            self.away.store(false, Ordering::Relaxed);
        }
    }

    /// The writer has no session, or lost it.
    pub(super) fn lost(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    /// Queries the server. If the writer's last attempt failed, this connects like the writer, because settings of a database
    /// or a user apply only to new sessions.
    pub(super) async fn check(self: &Arc<Self>, reads: &Reads) -> Result<(), Error> {
        if !self.away.load(Ordering::Relaxed) {
            return self.ask(reads).await;
        }
        if self.probing.swap(true, Ordering::Relaxed) {
            return Err(Unavailable::StoreAway.into());
        }
        // The probe continues if the caller gives up: finding the right one of several servers may take longer than the caller
        // waits.
        let probing = Probing(Arc::clone(self));
        let probe = tokio::spawn(async move { probing.0.probe().await });
        match probe.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                tracing::debug!(%reason, "the database still takes no writes");
                Err(Unavailable::StoreAway.into())
            }
            Err(_) => Err(Error::Internal),
        }
    }

    async fn probe(&self) -> Result<(), Cause> {
        let client = self.connector.for_writing().await?;
        // A proxy may keep a connection open whose server is gone.
        let row = timeout(SILENCE, client.query_opt(TAKES_WRITES, &[])).await.map_err(|_| Cause::Silent)??;
        match row.map(|row| row.try_get(0)).transpose()? {
            Some(true) => {
                self.away.store(false, Ordering::Relaxed);
                tracing::info!("the database takes writes");
                Ok(())
            }
            _ => Err(Cause::ReadOnly(ReadOnly::NotAllowed)),
        }
    }

    async fn ask(&self, reads: &Reads) -> Result<(), Error> {
        let takes: Option<bool> =
            reads.read(TAKES_WRITES, &[], |found| Ok(Ok(found.first().map(|row| row.try_get(0)).transpose()?))).await?;
        match takes {
            Some(true) => Ok(()),
            Some(false) => {
                self.lost();
                tracing::error!("the database takes no writes: it is read-only, or its user may not write");
                Err(Unavailable::StoreAway.into())
            }
            None => Err(Error::Internal),
        }
    }
}
