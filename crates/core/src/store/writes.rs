//! What can be written. Each kind of write is one atomic step inside the adapter.

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
    /// What it answers once it is committed.
    type Answer: Send + Sync + 'static;

    /// The write as one of all kinds, with whom it answers.
    fn with_reply(self, reply: Reply<Self::Answer>) -> AnyWrite;
}

/// A write and whom it answers.
pub struct Submission<W: Write> {
    /// What is to be done.
    pub write: W,
    /// Who waits for the answer.
    pub reply: Reply<W::Answer>,
}

/// Names every kind of write, and what it answers.
macro_rules! kinds_of_writes {
    ($($kind:ident => $answer:ty,)*) => {
        /// A write of any kind. A store matches on it once.
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
    VersionsForgotten => Changed,
    NewUser => Done<TokenWithUser>,
    UserChange => User,
    ExternalUser => ExternalUserDone,
    NewRoom => Done<Room>,
    NewMember => Done<MembershipChanged>,
    MemberRemoval => Done<MembershipChanged>,
    NewToken => Done<TokenWithUser>,
    Revocation => (),
}

/// Who waits for the answer of a write.
pub enum Reply<T> {
    /// The task that holds the [`Pending`].
    Pending(oneshot::Sender<Result<T, Error>>),
    /// Nobody: the outcome travels with the commit, as a [`Receipt`] of the answer.
    Ack(AckTo, fn(&T) -> Receipt),
}

impl<T> Reply<T> {
    /// Answers a [`Pending`]. Where the outcome is to travel with the commit, it is returned; `room_id` is the write's.
    pub fn send(self, room_id: Option<RoomId>, outcome: Result<T, Error>) -> Option<Ack> {
        match self {
            Self::Pending(sender) => {
                // Whoever no longer waits misses it.
                let _ = sender.send(outcome);
                None
            }
            Self::Ack(to, receipt) => Some(Ack { room_id, to, outcome: outcome.map(|answer| receipt(&answer)) }),
        }
    }
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

/// A message to append: membership, both kinds of idempotency and its `seq` are decided in the commit.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// Its id, if it is not a replay.
    pub id: MessageId,
    /// Where.
    pub room_id: RoomId,
    /// By whom. Must exist ([`NotFound::User`](crate::NotFound::User)).
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

/// A change of what a message says.
#[derive(Debug, Clone)]
pub struct MessageEdit {
    /// Where.
    pub room_id: RoomId,
    /// Which. Must be in that room ([`NotFound::Message`](crate::NotFound::Message)).
    pub message_id: MessageId,
    /// What it says from now on. If it says so already, nothing changes.
    pub content: Content,
    /// The version that the change was made for. [`VersionConflict`](crate::Conflict::VersionConflict) if there is a later one.
    pub if_version: Option<Version>,
    /// Who does it.
    pub by: UserId,
    /// By whose token.
    pub actor: Actor,
    /// When it was accepted.
    pub at: Timestamp,
}

/// The texts of a message's earlier versions are to be forgotten. Nothing is told of it.
#[derive(Debug, Clone)]
pub struct VersionsForgotten {
    /// Where.
    pub room_id: RoomId,
    /// Which. Must be in that room ([`NotFound::Message`](crate::NotFound::Message)).
    pub message_id: MessageId,
    /// By whose token.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// What a change of a message has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The message as it is now.
    pub message: Message,
    /// The event of the change, or the room's newest where there was nothing to change.
    pub seq: Seq,
    /// When that event was accepted.
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

/// What a [`NewMember`] or a [`MemberRemoval`] is about.
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

/// A membership to begin; once a user is a member, nothing changes.
#[derive(Debug, Clone)]
pub struct NewMember(pub MembershipChange);

/// A membership to end; once a user is no member, nothing changes.
#[derive(Debug, Clone)]
pub struct MemberRemoval(pub MembershipChange);

/// What a membership change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipChanged {
    /// It is event `seq` of the room.
    At(Seq),
    /// It was so already at this event of the room; 0 if that is no longer known.
    NotNeeded(Seq),
}

impl MembershipChanged {
    /// The room's event that it is as new as.
    pub fn seq(self) -> Seq {
        match self {
            Self::At(seq) | Self::NotNeeded(seq) => seq,
        }
    }
}

/// A token to revoke, with all that it minted: each gets an entry in the control log, one that is revoked stays as it was. Once
/// it is answered, nothing more is committed on behalf of any of them, on any node.
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

/// A user to make, or to find and change, by the application's own id for it. `None` leaves as it is. Two at once make one
/// user. Writes a [`ControlChange::User`](crate::ControlChange::User) entry if it changed one.
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
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(Unavailable::OutcomeUnknown.into())))
    }
}
