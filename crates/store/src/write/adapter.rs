//! The part of the port that is the same for every database. Each database implements the traits of the reads on its
//! [`Adapter`], with its SQL.

use async_trait::async_trait;
use chatsphere_core::store::{AnyWrite, MessageReads, RoomReads, UrgentReads, UserReads};
use chatsphere_core::{Epoch, Error, Store};

use super::Writes;
use super::database::WriteDatabase;

/// The reading side and the writing side of a database.
#[async_trait]
pub(crate) trait Database: Send + Sync + 'static {
    type Writer: WriteDatabase;

    /// Checks that the database answers reads and accepts writes.
    async fn ping(&self) -> Result<(), Error>;
    /// Accepts no more reads.
    fn close(&self);
    /// Returns once no reader has a connection. Call it after [`Database::close`].
    async fn closed(&self) {}
}

pub(crate) struct Adapter<D: Database> {
    pub(crate) writes: Writes<D::Writer>,
    pub(crate) database: D,
    pub(crate) epoch: Epoch,
}

#[async_trait]
impl<D: Database> Store for Adapter<D>
where
    Self: UrgentReads + UserReads + RoomReads + MessageReads,
{
    fn submit_any(&self, write: AnyWrite) {
        self.writes.submit(write);
    }

    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.writes.check()?;
        self.database.ping().await
    }

    async fn ended(&self) {
        self.writes.ended().await;
    }

    async fn close(&self) {
        self.writes.close().await;
        self.database.close();
    }

    async fn closed(&self) {
        self.database.closed().await;
    }
}
