//! The reading side of a SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use chatsphere_core::Error;

use super::probe::Probe;
use super::readers::Readers;
use super::write::SqliteWriter;
use crate::write::adapter::{Adapter, Database};

pub(super) type SqliteStore = Adapter<Sqlite>;

pub(super) struct Sqlite {
    pub(super) readers: Readers,
    /// The threads for [`UrgentReads`](chatsphere_core::store::UrgentReads) and probes.
    pub(super) urgent: Readers,
    pub(super) probe: Arc<Probe>,
}

#[async_trait]
impl Database for Sqlite {
    type Writer = SqliteWriter;

    async fn ping(&self) -> Result<(), Error> {
        let probe = self.probe.clone();
        self.urgent.read(move |connection| probe.check(connection)).await
    }

    fn close(&self) {
        self.readers.close();
        self.urgent.close();
    }

    async fn closed(&self) {
        self.readers.closed().await;
        self.urgent.closed().await;
    }
}

#[cfg(test)]
mod tests;
