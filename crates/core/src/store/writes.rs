//! The kinds of writes. Each is one atomic step inside the adapter.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::Access;
use super::commit::{Ack, AckTo, Receipt};
use crate::error::{Error, InvalidField, Unavailable};
use crate::ids::{MessageId, RoomId, TokenId, UserId};
use crate::model::{Message, Role, Room, User};
use crate::seq::{Seq, Version};
use crate::text::{ClientMessageId, Content, ExternalId, RoomName, Username};
use crate::time::Timestamp;
use crate::token::{Token, TokenWithUser};

/// A kind of write. [`Store::submit`](super::Store) takes any of them.
pub trait Write: Send + Sync + Sized + 'static {
    /// The answer after the commit.
    type Answer: Send + Sync + 'static;

    /// Wraps the write and the recipient of its answer in the enum of all kinds.
    fn with_reply(self, reply: Reply<Self::Answer>) -> AnyWrite;
}

/// A write and the recipient of its answer.
pub struct Submission<W: Write> {
    /// The write.
    pub write: W,
    /// The recipient of the answer.
    pub reply: Reply<W::Answer>,
}

/// Declares every kind of write with its answer.
macro_rules! kinds_of_writes {
    ($($kind:ident => $answer:ty,)*) => {
        /// A write of any kind. A store matches on it in one place.
        pub enum AnyWrite {
            $(#[doc = concat!("See [`", stringify!($kind), "`].")] $kind(Submission<$kind>),)*
        }

        $(impl Write for $kind {
            type Answer = $answer;

            fn with_reply(self, reply: Reply<$answer>) -> AnyWrite {
                AnyWrite::$kind(Submission { write: self, reply })
            }
        })*
    };
}

kinds_of_writes! {
    NewMessage => Done<Message>,
    MessageEdit => Changed,
    MessageDeletion => Changed,
    VersionsForgotten => Changed,
    PinChange => Changed,
    NewUser => Done<TokenWithUser>,
    UserChange => User,
    ExternalUser => ExternalUserDone,
    NewRoom => Done<Room>,
    NewMember => Done<MembershipChanged>,
    MemberRemoval => Done<MembershipChanged>,
    NewToken => Done<TokenWithUser>,
    Revocation => (),
}

/// The recipient of a write's answer.
pub enum Reply<T> {
    /// The task that holds the [`Pending`].
    Pending(oneshot::Sender<Result<T, Error>>),
    /// No task waits: the [`CommitSink`](super::CommitSink) gets the outcome with the commit, as a [`Receipt`] of the answer.
    Ack(AckTo, fn(&T) -> Receipt),
}

impl<T> Reply<T> {
    /// Sends the outcome to a [`Pending`], or returns it as an [`Ack`] for the [`CommitSink`](super::CommitSink). `room_id` is
    /// the write's room.
    pub fn send(self, room_id: Option<RoomId>, outcome: Result<T, Error>) -> Option<Ack> {
        match self {
            Self::Pending(sender) => {
                // If the receiver is gone, nobody waits for the outcome.
                let _ = sender.send(outcome);
                None
            }
            Self::Ack(to, receipt) => Some(Ack { room_id, to, outcome: outcome.map(|answer| receipt(&answer)) }),
        }
    }
}

/// Identifies a POST that a client may send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of the scope (the caller's token, the method and the path) and the `Idempotency-Key`.
    pub key: [u8; 32],
    /// A keyed hash of the body. The same key with another body is a conflict.
    pub body: [u8; 32],
    /// SHA-256 of the body. It is compared with outcomes that an earlier release stored, and not stored.
    pub unkeyed_body: [u8; 32],
}

/// A write's answer, and whether it repeats that of an earlier, equal write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done<T> {
    /// What this write, or the earlier one, stored.
    pub value: T,
    /// Whether this is the answer of an earlier write, and this one stored nothing.
    pub replayed: bool,
}

/// On whose behalf a write is executed. The commit checks the rights of the actor by the rows of that moment
/// ([`crate::policy`]), whatever was checked before. So a write that was queued behind a revocation, a demotion or a removal is
/// rejected, on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The holder of this token.
    Token(TokenId),
    /// The holder of this CLIENT token, who acts as this user, with that user's rights and limits.
    As {
        /// The token.
        token: TokenId,
        /// The user.
        user: UserId,
    },
    /// The server itself, or its operator at the command line. It has no row, and may do everything.
    Operator,
}

impl Actor {
    /// Returns the token, if there is one.
    pub fn token(self) -> Option<TokenId> {
        match self {
            Self::Token(token) | Self::As { token, .. } => Some(token),
            Self::Operator => None,
        }
    }

    /// Returns the user as whom a CLIENT token acts.
    pub fn user(self) -> Option<UserId> {
        if let Self::As { user, .. } = self { Some(user) } else { None }
    }
}

/// A message to append. The commit checks membership and both kinds of idempotency, and assigns the `seq`.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// The message's id, unless this is a replay.
    pub id: MessageId,
    /// The room.
    pub room_id: RoomId,
    /// The author. If it does not exist, the error is [`NotFound::User`](crate::NotFound::User).
    pub author: UserId,
    /// The access at the time when the message was accepted: `Member(author)`, or `Any` for privileged callers. The commit
    /// removes the rights that the actor has lost since.
    pub access: Access,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// The content.
    pub content: Content,
    /// The sender's own id. If the same author used it in the same room before, the answer is the earlier message, or a
    /// conflict if the content differs.
    pub client_message_id: Option<ClientMessageId>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// An edit of a message's content.
#[derive(Debug, Clone)]
pub struct MessageEdit {
    /// The room.
    pub room_id: RoomId,
    /// The message. If it is not in that room, the error is [`NotFound::Message`](crate::NotFound::Message).
    pub message_id: MessageId,
    /// The new content. If it equals the current one, nothing changes.
    pub content: Content,
    /// The version on which the edit is based. If there is a later one, the error is
    /// [`VersionConflict`](crate::Conflict::VersionConflict).
    pub if_version: Option<Version>,
    /// Versions that are kept, this one included. Older ones are erased and no longer listed.
    pub max_versions: u32,
    /// The user who makes the change.
    pub by: UserId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A message to delete. It keeps its place and its author, without its contents. If it is deleted already, nothing changes. A
/// message that was deleted for good counts as absent to every other write.
#[derive(Debug, Clone)]
pub struct MessageDeletion {
    /// The room.
    pub room_id: RoomId,
    /// The message. If it is not in that room, the error is [`NotFound::Message`](crate::NotFound::Message).
    pub message_id: MessageId,
    /// Whether to delete it for good: then only its number is left. This also changes a message that is deleted already.
    pub hard: bool,
    /// The user who deletes it.
    pub by: UserId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// Erases the contents of a message's earlier versions. It adds no event.
#[derive(Debug, Clone)]
pub struct VersionsForgotten {
    /// The room.
    pub room_id: RoomId,
    /// The message. If it is not in that room, the error is [`NotFound::Message`](crate::NotFound::Message).
    pub message_id: MessageId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A message to pin or to unpin. If it is so already, nothing changes.
#[derive(Debug, Clone)]
pub struct PinChange {
    /// The room.
    pub room_id: RoomId,
    /// The message. If it is not in that room, the error is [`NotFound::Message`](crate::NotFound::Message).
    pub message_id: MessageId,
    /// Whether to pin or to unpin it.
    pub pinned: bool,
    /// The number of pinned messages that the room may have. If it has them, the error is
    /// [`TooManyPins`](crate::Conflict::TooManyPins).
    pub max: u64,
    /// The user who makes the change.
    pub by: UserId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// The result of a change to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The message after the change.
    pub message: Message,
    /// The number of the change's event; if nothing changed, that of the room's newest event.
    pub seq: Seq,
    /// When the server accepted that event.
    pub at: Timestamp,
}

/// A user to create, with its first token.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The id.
    pub id: UserId,
    /// The username, which no other user may have.
    pub username: Username,
    /// The role.
    pub role: Role,
    /// The user's first token, whose `user_id` is `id`.
    pub token: Token,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A room to create. Its owner becomes the first member, which is the room's event 1.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// The id.
    pub id: RoomId,
    /// The name.
    pub name: RoomName,
    /// The owner, who must exist.
    pub owner: UserId,
    /// The user who creates the room: `by` of the first event.
    pub by: UserId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// The data of a [`NewMember`] or a [`MemberRemoval`].
#[derive(Debug, Clone)]
pub struct MembershipChange {
    /// The room, which must exist.
    pub room_id: RoomId,
    /// The user. To begin a membership, the user must exist. Ending the membership of a user who is not a member, or does not
    /// exist, changes nothing.
    pub user_id: UserId,
    /// The user who makes the change.
    pub by: UserId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A membership to begin. If the user is a member already, nothing changes.
#[derive(Debug, Clone)]
pub struct NewMember(pub MembershipChange);

/// A membership to end. If the user is not a member, nothing changes.
#[derive(Debug, Clone)]
pub struct MemberRemoval(pub MembershipChange);

/// The result of a membership change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChanged {
    /// The change is this event of the room.
    At(Seq),
    /// Nothing had to change: the membership was so already at this event of the room; 0 if that is no longer known.
    NotNeeded(Seq),
}

impl MembershipChanged {
    /// Returns the number of the room's event at which the membership is known to be so.
    pub fn seq(self) -> Seq {
        match self {
            Self::At(seq) | Self::NotNeeded(seq) => seq,
        }
    }
}

/// A token to revoke, with all tokens that it minted. Each gets an entry in the control log; one that was revoked before stays
/// as it was. Once this is answered, no node commits anything on behalf of any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The token.
    pub token: TokenId,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A token to store.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// The token's row. Its user must exist, and its parent, if any, must not be revoked
    /// ([`TokenRefusal::Revoked`](crate::TokenRefusal::Revoked)). The commit checks both.
    pub token: Token,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// A change to a user. `None` leaves a field as it is. If anything changed, the commit adds a
/// [`ControlChange::User`](crate::ControlChange::User) entry to the control log.
#[derive(Debug, Clone)]
pub struct UserChange {
    /// The user.
    pub user_id: UserId,
    /// The new username, which no other user may have.
    pub username: Option<Username>,
    /// The new role.
    pub role: Option<Role>,
    /// Whether to disable or to enable the user.
    pub disabled: Option<bool>,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// A user to create, or to find and change, by the application's own id. `None` leaves a field as it is. Two concurrent writes
/// create one user. If an existing user changed, the commit adds a [`ControlChange::User`](crate::ControlChange::User) entry to
/// the control log.
#[derive(Debug, Clone)]
pub struct ExternalUser {
    /// The application's own id of the user.
    pub external_id: ExternalId,
    /// The user's id, if the user is created.
    pub id: UserId,
    /// The username, which no other user may have. Required to create the user.
    pub username: Option<Username>,
    /// Why the name is invalid, if it is. It is then accepted only if the user exists and has it already.
    pub unless_unchanged: Option<InvalidField>,
    /// The role. A new user is a MEMBER by default.
    pub role: Option<Role>,
    /// A USER token to store. The commit sets its `user_id`.
    pub token: Option<Token>,
    /// The actor whose rights the commit checks.
    pub actor: Actor,
    /// When the server accepted it.
    pub at: Timestamp,
}

/// The result of an [`ExternalUser`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalUserDone {
    /// The user after the write.
    pub user: User,
    /// Whether this write created the user.
    pub made: bool,
    /// The token, if the write had one.
    pub token: Option<Token>,
}

/// A submitted write. Dropping this does not cancel the write.
#[must_use = "the outcome of a write is in here"]
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, Error>>);

impl<T> Pending<T> {
    /// Makes a pending write, and the sender with which the store answers it.
    pub fn new() -> (oneshot::Sender<Result<T, Error>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The sender was dropped: the writer failed during a commit, so the outcome is unknown.
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Unavailable::OutcomeUnknown.into())))
    }
}
