//! The reading side of a PostgreSQL database.

use std::sync::Arc;

use async_trait::async_trait;
use chatsphere_core::Error;

use super::pool::Reads;
use super::read::versions::Versions;
use super::writable::Writable;
use super::write::PostgresWriter;
use crate::write::adapter::{Adapter, Database};

pub(super) type PostgresStore = Adapter<Postgres>;

pub(super) struct Postgres {
    pub(super) reads: Arc<Reads>,
    pub(super) versions: Arc<Versions>,
    /// The connections for [`UrgentReads`](chatsphere_core::store::UrgentReads) and probes.
    pub(super) urgent: Reads,
    pub(super) writable: Arc<Writable>,
}

#[async_trait]
impl Database for Postgres {
    type Writer = PostgresWriter;

    async fn ping(&self) -> Result<(), Error> {
        self.writable.check(&self.urgent).await
    }

    fn close(&self) {
        self.reads.close();
        self.urgent.close();
    }
}
