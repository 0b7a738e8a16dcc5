//! The port to durable storage, shaped by use case: each write is one atomic step inside the adapter, so that nothing
//! above can do it half.
//!
//! # What every adapter guarantees
//! - A write that answered `Ok` is on disk. A write that answered an error stored nothing, except
//!   [`Outage::OutcomeUnknown`](crate::Outage::OutcomeUnknown), where nobody can tell.
//! - A room's events are numbered 1, 2, 3 … without a gap; the number is given inside the commit, and `seq` N + 1 is never
//!   visible to a read before N.
//! - Rights are judged in the commit ([`Actor`]): once a write that takes rights away has answered, nothing that needed them is
//!   committed any more, on any node.
//! - Writes that wait are committed in groups. One bad write never fails its group.
//! - After a commit that added to rooms and before any of its writes answers, [`CommitSink::committed`] is called once, in
//!   commit order; it also hands on the answers of [`Store::append_for`]. A caller that vanishes cancels nothing: a write once submitted is carried out.
//! - Reads never wait for writes. A page and the membership that allows it are read from one snapshot.
//! - What decides access (`token`, `heads`, `control_after`, `control_head`) and `ping` never wait behind other reads.
//! - A full write queue answers [`Outage::QueueFull`](crate::Outage::QueueFull) at once.
//!
//! One conformance suite (`chatsphere-store/tests/conformance`) runs against every adapter.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::control::{ControlEntry, ControlPosition};
use crate::error::{Error, InvalidField, Outage};
use crate::event::Event;
use crate::ids::{MessageId, RoomId, TokenId, UserId};
use crate::model::{Message, MessageInRoom, Role, Room, User, UserRef};
use crate::seq::{Epoch, Seq};
use crate::text::{ClientMessageId, Content, ExternalId, RoomName, Username};
use crate::time::Timestamp;
use crate::token::{Token, TokenWithUser};

/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// How long the control log is kept at least. Positions have no gaps: a reader that finds its next entry further on than the next
/// position was away for longer, missed changes, and must look up anew all that it remembers.
pub const CONTROL_KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// How many bytes the JSON of a page takes at most, whatever its limit: a page of any list ends before the item that would exceed
/// them, unless that is its first. So the largest page of all is a single item that is larger than this; of a message that can
/// happen only where `message_bytes` was raised. A page with fewer items than its limit need not be the last one; whether more
/// follows is told by [`History::has_older`] and [`History::has_newer`], [`Page::next`], [`EventsPage::head`] and
/// [`Newest::from`]. Items are measured by [`EncodedLen`](crate::EncodedLen).
pub const PAGE_BYTES: usize = 1024 * 1024;

/// What one group commit added to rooms, in commit order, and whom it answers.
#[derive(Default)]
pub struct Committed {
    /// Durable events of rooms. Several of one room come in the order of their `seq`.
    pub events: Vec<Arc<Event>>,
    /// What became of messages that were handed in with [`Store::append_for`], in the order in which they were.
    pub answers: Vec<Answered>,
}

/// Takes what became of a message, instead of a task that waits for it: waking one costs more than the answer does.
pub trait OnAppended: Send + Sync + 'static {
    /// Called once, from any thread: must return quickly and never block. Dropped without a call if the store came to an end
    /// in mid-commit, so that nobody knows.
    ///
    /// The answer may be withheld, so that several to one client leave together: then what is returned is to be released soon.
    #[must_use = "what is withheld leaves only once it is released"]
    fn appended(self: Box<Self>, outcome: Result<Done<Message>, Error>) -> Option<Arc<dyn Withheld>>;
}

/// Answers that have not left yet.
pub trait Withheld: Send + Sync {
    /// Lets them go.
    fn release(&self);
}

impl dyn OnAppended {
    /// Tells at once.
    pub fn tell(self: Box<Self>, outcome: Result<Done<Message>, Error>) {
        if let Some(withheld) = self.appended(outcome) {
            withheld.release();
        }
    }
}

/// An answer on its way, so that it can travel with the events of its room.
pub struct Answered {
    /// The room of the message.
    pub room_id: RoomId,
    /// Whom to tell.
    pub to: Box<dyn OnAppended>,
    /// What to tell.
    pub outcome: Result<Done<Message>, Error>,
}

impl Answered {
    /// Tells at once.
    pub fn tell(self) {
        self.to.tell(self.outcome);
    }

    /// Tells; what is returned is to be released soon, with others.
    #[must_use = "what is withheld leaves only once it is released"]
    pub fn tell_with_others(self) -> Option<Arc<dyn Withheld>> {
        self.to.appended(self.outcome)
    }
}

/// Told of every commit that added to a room or answers a message. Called on the writer's own thread: must return quickly and
/// never block.
pub trait CommitSink: Send + Sync + 'static {
    /// The batch is durable and visible to every read. Each of its answers is to be told, now or soon.
    fn committed(&self, batch: Committed);
}

/// Identifies a POST that may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 over the scope (whose token, method, path) and the `Idempotency-Key`.
    pub key: [u8; 32],
    /// SHA-256 over the body. The same key with another body is a conflict.
    pub body: [u8; 32],
}

/// A write's answer, and whether it is the answer of an earlier, equal one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    /// What was stored, now or by the earlier write.
    pub value: T,
    /// The earlier write's answer; this one stored nothing.
    pub replayed: bool,
}

/// On whose behalf a write is carried out. The commit judges it by the rows of that moment ([`crate::policy`]), whatever was
/// found before: so a write that is queued behind a revocation, a demotion or a removal is refused, on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Whoever holds this token.
    Token(TokenId),
    /// The server itself, or its operator at the command line: no row stands behind it, and it is not judged.
    Operator,
}

/// Whose eyes a read has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sees the room only while a member; everything else is [`Denial::NotAMember`](crate::Denial::NotAMember).
    Member(UserId),
    /// Sees every room; one that does not exist is [`Absent::Room`](crate::Absent::Room).
    Any,
}

impl Access {
    /// What this and `other` both allow.
    pub fn within(self, other: Self) -> Self {
        if self == Self::Any { other } else { self }
    }
}

/// A message to append.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, if it is not a replay.
    pub id: MessageId,
    /// Where.
    pub room_id: RoomId,
    /// By whom. Must exist ([`Absent::User`](crate::Absent::User)).
    pub author: UserId,
    /// `Member(author)`, or `Any` for privileged callers, as it was when the message was accepted. The commit takes away what
    /// the actor has lost since.
    pub access: Access,
    /// By whose token.
    pub actor: Actor,
    /// What it says.
    pub content: Content,
    /// The same id of the same author in the same room again: the first one's message, or a conflict if the content differs.
    pub client_message_id: Option<ClientMessageId>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A user to make, with its first token.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// Its name; must be free.
    pub username: Username,
    /// Its role.
    pub role: Role,
    /// The token made with it, whose `user_id` is `id`.
    pub token: Token,
    /// By whose token.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub at: Timestamp,
}

/// A room to make. Its owner becomes the first member: its event 1 is that member's joining.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// Its id.
    pub id: RoomId,
    /// Its name.
    pub name: RoomName,
    /// Its owner; must exist.
    pub owner: UserId,
    /// Who makes it; `by` of the first event.
    pub by: UserId,
    /// By whose token.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub at: Timestamp,
}

/// A membership to begin or end.
#[derive(Debug, Clone)]
pub struct MembershipChange {
    /// Where. Must exist.
    pub room_id: RoomId,
    /// Whose. Must exist when it begins; removing a user who is no member (or does not exist) changes nothing.
    pub user_id: UserId,
    /// Who does it.
    pub by: UserId,
    /// By whose token.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When.
    pub at: Timestamp,
}

/// What a membership change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChanged {
    /// It is event `seq` of the room.
    At(Seq),
    /// It was so already.
    NotNeeded,
}

/// A token to revoke, with all that it minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Which.
    pub token: TokenId,
    /// By whose token.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// A token to keep.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its row. Its user must exist; its parent, if any, must not be revoked
    /// ([`TokenRefusal::Revoked`](crate::TokenRefusal::Revoked)): both decided in the commit.
    pub token: Token,
    /// By whose token.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// A change to a user; `None` leaves as it is. Writes a [`ControlChange::User`](crate::ControlChange::User) entry if
/// anything changed.
#[derive(Debug, Clone)]
pub struct UserChange {
    /// Whose.
    pub user_id: UserId,
    /// A new name; must be free.
    pub username: Option<Username>,
    /// A new role.
    pub role: Option<Role>,
    /// Disabled or enabled.
    pub disabled: Option<bool>,
    /// By whose token.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// A user to make, or to find and change, by the application's own id for it. `None` leaves as it is.
#[derive(Debug, Clone)]
pub struct ExternalUser {
    /// The application's own id.
    pub external_id: ExternalId,
    /// The user's id, if it is made.
    pub id: UserId,
    /// Its name; must be free. Needed to make the user.
    pub username: Option<Username>,
    /// Why the name breaks a rule, if it does: it is then good only if the user is found and has it already.
    pub unless_unchanged: Option<InvalidField>,
    /// Its role; MEMBER for a user that is made, if absent.
    pub role: Option<Role>,
    /// A USER token to keep. Its `user_id` is set in the commit.
    pub token: Option<Token>,
    /// By whose token.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// A user that was made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUserDone {
    /// The user as it is now.
    pub user: User,
    /// Whether it was made now.
    pub made: bool,
    /// The token that was asked for.
    pub token: Option<Token>,
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
    /// The newest messages, ascending, at most the limit asked and [`PAGE_BYTES`].
    pub messages: Vec<Message>,
    /// The newest other events from `from` on, ascending, at most the limit asked, and [`PAGE_BYTES`] besides the messages.
    pub others: Vec<Arc<Event>>,
    /// Every event from here to `head` is in this answer. 1 in an empty room.
    pub from: Seq,
    /// The room's newest event in the same snapshot.
    pub head: Seq,
}

/// What the pages of a room depend on. A page shows events of its room and names of users: it is the same for as long as this is.
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
pub struct Standing {
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

/// A write that was submitted. Dropping it does not take the write back.
#[must_use = "the outcome of a write is in here"]
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Pending<T> {
    /// A pending write and the end by which the store answers it.
    pub fn new() -> (oneshot::Sender<Result<T, Error>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A writer that died in mid-commit can't say what became of it.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Outage::OutcomeUnknown.into())))
    }
}

/// Durable storage. See the module for what every adapter guarantees.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- writes, each one atomic step ---

    /// Appends a message: membership, both kinds of idempotency and the next `seq` are decided inside the commit.
    /// Takes its place in the queue before it returns: two calls in a row are carried out in this order.
    fn append(&self, message: NewMessage) -> Pending<Done<Message>>;
    /// The same, and tells `to` instead of a waiting task: through the sink once it is committed, at once if it is refused before.
    fn append_for(&self, message: NewMessage, to: Box<dyn OnAppended>);
    /// Makes a user and its first token.
    async fn create_user(&self, user: NewUser) -> Result<Done<TokenWithUser>, Error>;
    /// Renames, promotes, disables. Answers the user as it is then.
    async fn change_user(&self, change: UserChange) -> Result<User, Error>;
    /// Makes a user, or finds and changes it, by the application's own id. Two at once make one user. Writes a
    /// [`ControlChange::User`](crate::ControlChange::User) entry if it changed one.
    async fn put_external_user(&self, user: ExternalUser) -> Result<ExternalUserDone, Error>;
    /// Makes a room.
    async fn create_room(&self, room: NewRoom) -> Result<Done<Room>, Error>;
    /// Begins a membership.
    async fn add_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error>;
    /// Ends a membership.
    async fn remove_member(&self, change: MembershipChange) -> Result<Done<MembershipChanged>, Error>;
    /// Keeps a new token's row.
    async fn create_token(&self, token: NewToken) -> Result<Done<TokenWithUser>, Error>;
    /// Revokes a token and all that it minted, each with an entry in the control log. A revoked one stays as it was.
    /// Once it has answered, nothing more is committed on behalf of any of them, on any node.
    async fn revoke_token(&self, revocation: Revocation) -> Result<(), Error>;

    // --- reads ---

    /// A user.
    async fn user(&self, id: UserId) -> Result<Option<User>, Error>;
    /// The user of this name.
    async fn user_by_name(&self, username: &str) -> Result<Option<User>, Error>;
    /// All users, in the order they were made.
    async fn users(&self, page: PageRequest) -> Result<Page<User>, Error>;
    /// A token with its user.
    async fn token(&self, id: TokenId) -> Result<Option<TokenWithUser>, Error>;
    /// Whether a CLIENT token that is good at this moment acts in this user's name.
    async fn has_client_token(&self, user: UserId, now: Timestamp) -> Result<bool, Error>;
    /// All tokens, newest first.
    async fn tokens(&self, page: PageRequest) -> Result<Page<TokenWithUser>, Error>;
    /// A room.
    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error>;
    /// How a user stands to a room; `None` if there is no such room.
    async fn standing(&self, room: RoomId, user: UserId) -> Result<Option<Standing>, Error>;
    /// Rooms, in the order they were made.
    async fn rooms(&self, filter: RoomFilter, page: PageRequest) -> Result<Page<Room>, Error>;
    /// A room's members, in the order they joined.
    async fn members(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Page<UserRef>, Error>;
    /// A page of a room's messages, by keyset on `(room, seq)`: at most `limit` and [`PAGE_BYTES`], those nearest to where the
    /// range begins.
    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error>;
    /// The events after `after`, of all kinds, at most `limit` and [`PAGE_BYTES`].
    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error>;
    /// The newest part of a room: `messages` messages and [`PAGE_BYTES`] at most, and the other events that lie among and after
    /// them, at most `others`.
    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error>;
    /// The present version of a room, for a page that was read before. Not older than anything that was acknowledged, by whatever
    /// node, before this call.
    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error>;
    /// Messages across rooms, newest first, at most the page's limit and [`PAGE_BYTES`].
    async fn messages(&self, filter: MessageFilter, page: PageRequest) -> Result<Page<MessageInRoom>, Error>;
    /// The newest event of each of these rooms; rooms that do not exist are left out.
    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error>;
    /// The control log after a position, in commit order, at most `limit`. What is older than [`CONTROL_KEPT`] may be gone.
    async fn control_after(&self, after: ControlPosition, limit: usize) -> Result<Vec<ControlEntry>, Error>;
    /// The newest position of the control log.
    async fn control_head(&self) -> Result<ControlPosition, Error>;
    /// This life of the data.
    fn epoch(&self) -> Epoch;
    /// Whether the database answers reads and takes writes, and the writer is there.
    async fn ping(&self) -> Result<(), Error>;
    /// Bytes that the database takes, about: with SQLite without what is only in its `-wal` file.
    async fn size(&self) -> Result<u64, Error>;
    /// Resolves when nothing is written any more: it was closed, or its writer has broken.
    async fn ended(&self);
    /// Carries out what waits, refuses what comes later with [`Outage::Stopping`](crate::Outage::Stopping), and closes.
    async fn close(&self);
    /// After [`Store::close`]: returns once every connection to the database is closed.
    async fn closed(&self) {}
}
