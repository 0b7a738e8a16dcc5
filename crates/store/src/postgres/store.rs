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

use super::pool::Reads;
use super::read;
use super::read::versions::Versions;
use super::writable::Writable;
use crate::write::Writes;

pub(super) struct PostgresStore {
    writes: Writes,
    writable: Arc<Writable>,
    reads: Arc<Reads>,
    versions: Arc<Versions>,
    /// For what decides who may do what, and whether this node is well: that must never wait behind clients' pages.
    urgent: Reads,
    epoch: Epoch,
}

impl PostgresStore {
    pub(super) fn new(writes: Writes, writable: Arc<Writable>, reads: Reads, urgent: Reads, epoch: Epoch) -> Self {
        let reads = Arc::new(reads);
        let versions = Arc::new(Versions::new(Arc::clone(&reads)));
        Self { writes, writable, reads, versions, urgent, epoch }
    }
}

#[async_trait]
impl Store for PostgresStore {
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
        read::users::user(&self.reads, id).await
    }

    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error> {
        read::users::user_by_name(&self.reads, username).await
    }

    async fn users(&self, page: PageRequest) -> Result<Page<User>, Error> {
        read::users::users(&self.reads, page).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error> {
        read::tokens::token(&self.urgent, id).await
    }

    async fn has_client_token(&self, user: UserId, now: Timestamp) -> Result<bool, Error> {
        read::tokens::has_client_token(&self.reads, user, now).await
    }

    async fn tokens(&self, page: PageRequest) -> Result<Page<TokenWithUser>, Error> {
        read::tokens::tokens(&self.reads, page).await
    }

    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error> {
        read::rooms::room(&self.reads, id, access).await
    }

    async fn standing(&self, room: RoomId, user: UserId) -> Result<Option<Standing>, Error> {
        read::rooms::standing(&self.reads, room, user).await
    }

    async fn rooms(&self, filter: RoomFilter, page: PageRequest) -> Result<Page<Room>, Error> {
        read::rooms::rooms(&self.reads, &filter, page).await
    }

    async fn members(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Page<UserRef>, Error> {
        read::members::members(&self.reads, room, access, page).await
    }

    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error> {
        read::history::history(&self.reads, room, access, range, limit).await
    }

    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        read::events::after(&self.reads, room, access, after, limit).await
    }

    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error> {
        read::events::newest(&self.reads, room, access, messages, others).await
    }

    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        self.versions.ask(room, access).await
    }

    async fn messages(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<MessageInRoom>, Error> {
        read::messages::messages(&self.reads, &filter, page).await
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        read::rooms::heads(&self.urgent, rooms).await
    }

    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error> {
        read::control::after(&self.urgent, after, limit).await
    }

    async fn control_head(&self) -> Result<ControlPosition, Error> {
        read::control::head(&self.urgent).await
    }

    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.writes.check()?;
        self.writable.check(&self.urgent).await
    }

    async fn size(&self) -> Result<u64, Error> {
        read::rooms::size(&self.urgent).await
    }

    async fn ended(&self) {
        self.writes.ended().await;
    }

    async fn close(&self) {
        self.writes.close().await;
        self.reads.close();
        self.urgent.close();
    }
}
