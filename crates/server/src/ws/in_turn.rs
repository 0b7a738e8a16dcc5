use std::sync::Arc;

use async_trait::async_trait;
use chatsphere_core::store::{EventsPage, Newest};
use chatsphere_core::turns::Turn;
use chatsphere_core::{Access, AppContext, Caller, Epoch, Error, RoomId, Seq, Shared};
use chatsphere_realtime::RoomLog;

/// The store as read by one caller's joins, which take turns with the reads of other callers.
pub(super) struct InTurn<'a> {
    pub(super) chat: &'a AppContext,
    pub(super) caller: &'a Caller,
}

#[async_trait]
impl RoomLog for InTurn<'_> {
    async fn turn(&self) -> Option<Turn> {
        Some(self.chat.turn_to_join(self.caller).await)
    }

    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        self.chat.store.events_after(room, access, after, limit).await
    }

    async fn newest(
        &self,
        room: RoomId,
        access: Access,
        limits: (usize, usize),
    ) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error> {
        let turn = async { Ok(self.chat.turn_to_join(self.caller).await) };
        self.chat.pages.newest(&*self.chat.store, room, access, limits, turn).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        self.chat.store.heads(rooms).await
    }

    fn epoch(&self) -> Epoch {
        self.chat.store.epoch()
    }
}
