//! The port, put together.

use std::sync::Arc;

use async_trait::async_trait;
use chatsphere_core::store::{
    EventsPage, ExternalUser, ExternalUserDone, History, HistoryRange, MembershipChange, MembershipChanged, MessageFilter,
    NewMessage, NewRoom, NewToken, NewUser, Newest, OnAppended, Page, PageRequest, Pending, Revocation, RoomFilter,
    RoomVersion, Standing, UserChange, Versioned,
};
use chatsphere_core::{
    Access, ControlEntry, ControlPosition, Done, Epoch, Error, Message, MessageInRoom, Room, RoomId, Seq, Store, Timestamp,
    TokenId, TokenWithUser, User, UserId, UserRef,
};

use super::probe::Probe;
use super::read;
use super::readers::Readers;
use crate::write::Writes;

pub(super) struct SqliteStore {
    writes: Writes,
    readers: Readers,
    /// For what decides who may do what, and whether this node is well: that must never wait behind clients' pages.
    urgent: Readers,
    probe: Arc<Probe>,
    epoch: Epoch,
}

impl SqliteStore {
    pub(super) fn new(writes: Writes, readers: Readers, urgent: Readers, probe: Probe, epoch: Epoch) -> Self {
        Self { writes, readers, urgent, probe: Arc::new(probe), epoch }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn append(&self, message: NewMessage) -> Pending<Done<Message>> {
        self.writes.append(message)
    }

    fn append_for(&self, message: NewMessage, to: Box<dyn OnAppended>) {
        self.writes.append_for(message, to);
    }

    async fn create_user(&self, user: NewUser) -> Result<Done<TokenWithUser>, Error> {
        self.writes.create_user(user).await
    }

    async fn change_user(&self, change: UserChange) -> Result<User, Error> {
        self.writes.change_user(change).await
    }

    async fn put_external_user(&self, user: ExternalUser) -> Result<ExternalUserDone, Error> {
        self.writes.put_external_user(user).await
    }

    async fn create_room(&self, room: NewRoom) -> Result<Done<Room>, Error> {
        self.writes.create_room(room).await
    }

    async fn add_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error> {
        self.writes.add_member(change).await
    }

    async fn remove_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error> {
        self.writes.remove_member(change).await
    }

    async fn create_token(&self, token: NewToken) -> Result<Done<TokenWithUser>, Error> {
        self.writes.create_token(token).await
    }

    async fn revoke_token(&self, revocation: Revocation) -> Result<(), Error> {
        self.writes.revoke_token(revocation).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        self.readers.read(move |connection| read::users::user(connection, id)).await
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        let username = username.to_owned();
        self.readers.read(move |connection| read::users::user_by_name(connection, &username)).await
    }

    async fn users(&self, page: PageRequest) -> Result<Page<User>, Error> {
        self.readers.read(move |connection| read::users::users(connection, page)).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
        self.urgent.read(move |connection| Ok(read::tokens::token(connection, id)?)).await
    }

    async fn has_client_token(&self, user: UserId, now: Timestamp) -> Result<bool, Error> {
        self.urgent.read(move |connection| Ok(read::tokens::has_client_token(connection, user, now)?)).await
    }

    async fn tokens(&self, page: PageRequest) -> Result<Page<TokenWithUser>, Error> {
        self.readers.read(move |connection| read::tokens::tokens(connection, page)).await
    }

    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error> {
        self.readers.read(move |connection| read::rooms::room(connection, id, access)).await
    }

    async fn standing(&self, room: RoomId, user: UserId) -> Result<Option<Standing>, Error> {
        self.readers.read(move |connection| Ok(read::rooms::standing(connection, room, user)?)).await
    }

    async fn rooms(&self, filter: RoomFilter, page: PageRequest) -> Result<Page<Room>, Error> {
        self.readers.read(move |connection| read::rooms::rooms(connection, &filter, page)).await
    }

    async fn members(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Page<UserRef>, Error> {
        self.readers.read(move |connection| read::members::members(connection, room, access, page)).await
    }

    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error> {
        self.readers.read(move |connection| read::history::history(connection, room, access, range, limit)).await
    }

    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        self.readers.read(move |connection| read::events::after(connection, room, access, after, limit)).await
    }

    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error> {
        self.readers.read(move |connection| read::events::newest(connection, room, access, messages, others)).await
    }

    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        self.readers.read(move |connection| read::rooms::version(connection, room, access)).await
    }

    async fn messages(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<MessageInRoom>, Error> {
        self.readers.read(move |connection| read::messages::messages(connection, &filter, page)).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        let rooms = rooms.to_vec();
        self.urgent.read(move |connection| read::rooms::heads(connection, &rooms)).await
    }

    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error> {
        self.urgent.read(move |connection| read::control::after(connection, after, limit)).await
    }

    async fn control_head(&self) -> Result<ControlPosition, Error> {
        self.urgent.read(read::control::head).await
    }

    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.writes.check()?;
        let probe = self.probe.clone();
        self.urgent
            .read(move |connection| {
                read::rooms::ping(connection)?;
                probe.look()
            })
            .await
    }

    async fn size(&self) -> Result<u64, Error> {
        self.urgent.read(read::rooms::size).await
    }

    async fn ended(&self) {
        self.writes.ended().await;
    }

    async fn close(&self) {
        self.writes.close().await;
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
