//! The reads of a store, by aggregate.

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

/// Reads that decide about access, or about whether a node is up to date. They never wait behind other reads.
#[async_trait]
pub trait UrgentReads: Send + Sync {
    /// Returns a token with its user.
    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error>;
    /// Returns a user's relation to a room; `None` if the room does not exist.
    async fn room_relation(&self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Error>;
    /// Returns the number of the newest event of each of these rooms. Rooms that do not exist are omitted.
    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error>;
    /// Returns entries of the control log after a position, in commit order, at most `limit`. Entries older than
    /// [`CONTROL_KEPT`](super::CONTROL_KEPT) may have been removed.
    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error>;
    /// Returns the newest position of the control log.
    async fn control_head(&self) -> Result<ControlPosition, Error>;
    /// Returns the approximate size of the database in bytes. With SQLite it excludes data that is only in the `-wal` file.
    async fn size(&self) -> Result<u64, Error>;
}

/// Reads of users and their tokens.
#[async_trait]
pub trait UserReads: Send + Sync {
    /// Returns a user.
    async fn user(&self, id: UserId) -> Result<Option<User>, Error>;
    /// Returns the user with exactly this name.
    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error>;
    /// Lists all users in the order of their creation.
    async fn users(&self, page: PageRequest) -> Result<Page<User>, Error>;
    /// Lists all tokens, newest first.
    async fn tokens(&self, page: PageRequest) -> Result<Page<TokenWithUser>, Error>;
}

/// Reads of rooms and their members.
#[async_trait]
pub trait RoomReads: Send + Sync {
    /// Returns a room.
    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error>;
    /// Lists rooms in the order of their creation.
    async fn rooms(&self, filter: RoomFilter, page: PageRequest) -> Result<Page<Room>, Error>;
    /// Lists a room's members in the order in which they joined.
    async fn members(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Members, Error>;
}

/// Reads of messages and other events.
#[async_trait]
pub trait MessageReads: Send + Sync {
    /// Returns a page of a room's messages, by keyset on `(room, seq)`: those nearest to the start of the range, at most
    /// `limit` and [`PAGE_BYTES`](super::PAGE_BYTES). If the range is around a message that does not exist, the error is
    /// [`NotFound::Message`](crate::NotFound::Message).
    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error>;
    /// Returns a message in its current state. If it does not exist, the error is
    /// [`NotFound::Message`](crate::NotFound::Message).
    async fn message(&self, room: RoomId, access: Access, message: MessageId) -> Result<MessageRead, Error>;
    /// Returns the events of all kinds after `after`, at most `limit` and [`PAGE_BYTES`](super::PAGE_BYTES).
    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error>;
    /// Returns the newest part of a room: at most `messages` messages and [`PAGE_BYTES`](super::PAGE_BYTES), and at most
    /// `others` of the other events among and after them.
    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error>;
    /// Returns the versions of a message, newest first, at most the page's limit and [`PAGE_BYTES`](super::PAGE_BYTES). If the
    /// message does not exist, the error is [`NotFound::Message`](crate::NotFound::Message).
    async fn message_versions(
        &self,
        room: RoomId,
        access: Access,
        message: MessageId,
        page: PageRequest,
    ) -> Result<Versions, Error>;
    /// Lists a room's pinned messages, by when they were pinned, newest first, at most the page's limit and
    /// [`PAGE_BYTES`](super::PAGE_BYTES).
    async fn pins(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Pins, Error>;
    /// Returns the current version of a room, to validate a cached page. It is at least as new as everything that any node
    /// acknowledged before this call.
    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error>;
    /// Lists messages of all rooms, newest first, at most the page's limit and [`PAGE_BYTES`](super::PAGE_BYTES).
    async fn messages(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<MessageInRoom>, Error>;
}

/// A page of a list: at most `limit` items after `cursor`.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// Where the page begins; `None` is the beginning of the list.
    pub cursor: Option<Cursor>,
    /// The largest number of items, at least 1.
    pub limit: usize,
}

/// A place in a list, which only the adapter that made it interprets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub i64);

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Cursor>,
}

/// A range of a room's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest messages.
    Newest,
    /// The messages with the next smaller numbers.
    Before(Seq),
    /// The messages with the next larger numbers.
    After(Seq),
    /// The message at a place, and those next to it on both sides.
    Around(Place),
}

/// A place among a room's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The place of this number, whether or not it is that of a message.
    At(Seq),
    /// The place of this message.
    Of(MessageId),
}

/// A page of a room's messages, ascending for every range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The messages, ascending by `seq`.
    pub messages: Vec<Message>,
    /// Whether the room has messages older than the first of these.
    pub has_older: bool,
    /// Whether the room has messages newer than the last of these.
    pub has_newer: bool,
    /// The room's newest event at the time of the read.
    pub head: Seq,
}

/// A message of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRead {
    /// The message.
    pub message: Message,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// A page of a room's durable events of all kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsPage {
    /// The events, ascending by `seq`, without a gap from `after` + 1. More follow while the last one is below `head`, even if
    /// there are fewer than the limit.
    pub events: Vec<Arc<Event>>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// The newest part of a room, for a join without `since`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The newest messages, ascending, at most the requested limit and [`PAGE_BYTES`](super::PAGE_BYTES).
    pub messages: Vec<Message>,
    /// The newest other events from `from` on, ascending, at most the requested limit. They take at most another
    /// [`PAGE_BYTES`](super::PAGE_BYTES).
    pub others: Vec<Arc<Event>>,
    /// The first number of the range that this contains: every event from here to `head` is in it. 1 in an empty room.
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

/// A page of a room's pinned messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The messages, those that were pinned last first.
    pub page: Page<Message>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// A page of a message's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The author of the message.
    pub author: UserId,
    /// The versions, newest first.
    pub page: Page<MessageVersion>,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// The data that the pages of a room depend on. A page shows the room's events and users' names, so it is valid while this is
/// unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomVersion {
    /// The room's newest event.
    pub head: Seq,
    /// The newest entry of the control log, because a new name of a user is an entry of it.
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

/// A user's relation to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomRelation {
    /// The owner of the room.
    pub owner: UserId,
    /// Whether the user is a member.
    pub member: bool,
}

/// Selects messages for lists of messages of all rooms.
#[derive(Debug, Clone, Default)]
pub struct MessageFilter {
    /// Only messages of this author.
    pub author: Option<UserId>,
    /// Only messages in rooms that this user is a member of.
    pub seen_by: Option<UserId>,
    /// Only messages in these rooms.
    pub rooms: Option<Vec<RoomId>>,
}

/// Selects rooms for a list.
#[derive(Debug, Clone, Default)]
pub struct RoomFilter {
    /// Only rooms that this user is a member of.
    pub member: Option<UserId>,
    /// Only these rooms.
    pub rooms: Option<Vec<RoomId>>,
}
