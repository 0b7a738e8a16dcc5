//! What can be read, by aggregate.

use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;

use super::Access;
use crate::control::{ControlEntry, ControlPosition};
use crate::error::Error;
use crate::event::Event;
use crate::ids::{MessageId, RoomId, TokenId, UserId};
use crate::model::{Message, MessageInRoom, MessageVersion, Room, User, UserRef};
use crate::seq::Seq;
use crate::token::TokenWithUser;

/// Reads of what decides access, and of what says whether a node is up to date. They never wait behind other reads.
#[async_trait]
pub trait UrgentReads: Send + Sync {
    /// A token with its user.
    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error>;
    /// How a user stands to a room; `None` if there is no such room.
    async fn room_relation(&self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Error>;
    /// The newest event of each of these rooms; rooms that do not exist are left out.
    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error>;
    /// The control log after a position, in commit order, at most `limit`. What is older than
    /// [`CONTROL_KEPT`](super::CONTROL_KEPT) may be gone.
    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error>;
    /// The newest position of the control log.
    async fn control_head(&self) -> Result<ControlPosition, Error>;
    /// Bytes that the database takes, about: with SQLite without what is only in its `-wal` file.
    async fn size(&self) -> Result<u64, Error>;
}

/// Reads of users and their tokens.
#[async_trait]
pub trait UserReads: Send + Sync {
    /// A user.
    async fn user(&self, id: UserId) -> Result<Option<User>, Error>;
    /// The user of this name.
    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error>;
    /// All users, in the order they were made.
    async fn users(&self, page: PageRequest) -> Result<Page<User>, Error>;
    /// All tokens, newest first.
    async fn tokens(&self, page: PageRequest) -> Result<Page<TokenWithUser>, Error>;
}

/// Reads of rooms and who is in them.
#[async_trait]
pub trait RoomReads: Send + Sync {
    /// A room.
    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error>;
    /// Rooms, in the order they were made.
    async fn rooms(&self, filter: RoomFilter, page: PageRequest) -> Result<Page<Room>, Error>;
    /// A room's members, in the order they joined.
    async fn members(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Members, Error>;
}

/// Reads of messages and other events.
#[async_trait]
pub trait MessageReads: Send + Sync {
    /// A page of a room's messages, by keyset on `(room, seq)`: at most `limit` and [`PAGE_BYTES`](super::PAGE_BYTES), those
    /// nearest to where the range begins.
    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error>;
    /// The events after `after`, of all kinds, at most `limit` and [`PAGE_BYTES`](super::PAGE_BYTES).
    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error>;
    /// The newest part of a room: `messages` messages and [`PAGE_BYTES`](super::PAGE_BYTES) at most, and the other events that
    /// lie among and after them, at most `others`.
    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error>;
    /// The versions of a message, newest first, at most the page's limit and [`PAGE_BYTES`](super::PAGE_BYTES). Without the
    /// message, [`NotFound::Message`](crate::NotFound::Message).
    async fn message_versions(
        &self,
        room: RoomId,
        access: Access,
        message: MessageId,
        page: PageRequest,
    ) -> Result<Versions, Error>;
    /// The present version of a room, for a page that was read before. Not older than anything that was acknowledged, by
    /// whatever node, before this call.
    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error>;
    /// Messages across rooms, newest first, at most the page's limit and [`PAGE_BYTES`](super::PAGE_BYTES).
    async fn messages(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<MessageInRoom>, Error>;
}

/// A page of a list: at most `limit` items after `cursor`.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// Where to go on; `None` is the beginning.
    pub cursor: Option<Cursor>,
    /// At least 1.
    pub limit: usize,
}

/// A place in a list, as an adapter gave it out. Opaque above the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub i64);

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// Which messages of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Newest,
    /// The nearest with a smaller `seq`.
    Before(Seq),
    /// The nearest with a larger `seq`.
    After(Seq),
}

/// A page of a room's messages, ascending whatever was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The messages, ascending by `seq`.
    pub messages: Vec<Message>,
    /// Whether the room has messages older than the first of these.
    pub has_older: bool,
    /// Whether the room has messages newer than the last of these.
    pub has_newer: bool,
    /// The room's newest event when this was read.
    pub head: Seq,
}

/// A page of a room's durable events of all kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    /// The events, ascending by `seq`, without a gap: the first is `after` + 1. More follow as long as the last one is below
    /// `head`, also where there are fewer than the limit.
    pub events: Vec<Arc<Event>>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// The newest part of a room, for a join that has nothing yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The newest messages, ascending, at most the limit asked and [`PAGE_BYTES`](super::PAGE_BYTES).
    pub messages: Vec<Message>,
    /// The newest other events from `from` on, ascending, at most the limit asked, and [`PAGE_BYTES`](super::PAGE_BYTES)
    /// besides the messages.
    pub others: Vec<Arc<Event>>,
    /// Every event from here to `head` is in this answer. 1 in an empty room.
    pub from: Seq,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// A page of a room's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The members, in the order they joined.
    pub page: Page<UserRef>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// A page of a message's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Whose message it is.
    pub author: UserId,
    /// The versions, newest first.
    pub page: Page<MessageVersion>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// What the pages of a room depend on. A page shows events of its room and names of users: it is the same for as long as this
/// is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomVersion {
    /// The room's newest event.
    pub head: Seq,
    /// The newest entry of the control log: a change of a user's name is one.
    pub control: ControlPosition,
}

/// A page and the version of its room, read from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The version of the room.
    pub version: RoomVersion,
    /// The page.
    pub page: T,
}

impl<T> Deref for Versioned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.page
    }
}

/// How a user stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomRelation {
    /// Who owns the room.
    pub owner: UserId,
    /// Whether the user is a member.
    pub member: bool,
}

/// Whose messages, in which rooms, for lists across rooms.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only this author's.
    pub author: Option<UserId>,
    /// Only in rooms that this user is a member of.
    pub seen_by: Option<UserId>,
    /// Only in these rooms.
    pub rooms: Option<Vec<RoomId>>,
}

/// Which rooms to list.
#[derive(Debug, Clone, Default)]
pub struct RoomFilter {
    /// Only those that this user is a member of.
    pub member: Option<UserId>,
    /// Only these.
    pub rooms: Option<Vec<RoomId>>,
}
