//! The part of the store that the hub reads: events of rooms.

use std::sync::Arc;

use async_trait::async_trait;
use chatsphere_core::store::{EventsPage, MessageReads, Newest, UrgentReads};
use chatsphere_core::turns::Turn;
use chatsphere_core::{Access, Epoch, Error, RoomId, Seq, Shared, Store};

/// Read access to the durable events of rooms. Every [`Store`] implements it and documents its guarantees.
#[async_trait]
pub trait RoomLog: Send + Sync {
    /// Waits for a turn to read pages and keep them in memory, if the implementation limits that. Call it before taking locks
    /// or turns that others wait for.
    async fn turn(&self) -> Option<Turn> {
        None
    }
    /// See [`MessageReads::events_after`].
    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error>;
    /// See [`MessageReads::newest`], with both limits. A page that was read from the database comes with its turn.
    async fn newest(
        &self,
        room: RoomId,
        access: Access,
        limits: (usize, usize),
    ) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error>;
    /// See [`UrgentReads::heads`].
    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error>;
    /// See [`Store::epoch`].
    fn epoch(&self) -> Epoch;
}

#[async_trait]
impl RoomLog for dyn Store {
    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        MessageReads::events_after(self, room, access, after, limit).await
    }

    async fn newest(
        &self,
        room: RoomId,
        access: Access,
        (messages, others): (usize, usize),
    ) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error> {
        let read = MessageReads::newest(self, room, access, messages, others).await?;
        Ok((Arc::new(Shared::new(read.page)), None))
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        UrgentReads::heads(self, rooms).await
    }

    fn epoch(&self) -> Epoch {
        Store::epoch(self)
    }
}
