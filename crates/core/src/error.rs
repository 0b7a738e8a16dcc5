//! The errors of ops and stores, each with a stable code. Front doors turn them into HTTP statuses and `error` frames.

use std::borrow::Cow;
use std::time::Duration;

/// An invalid field of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidField {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What a valid value is.
    pub message: Cow<'static, str>,
}

impl InvalidField {
    /// Makes the error about a field.
    pub fn new(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field, message: message.into() }
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// The call has no token.
    #[error("no token was sent: send `Authorization: Bearer <token>`")]
    Missing,
    /// The token is not a JWT that this server signed, or its user or row does not exist.
    #[error("the token is not valid here: ask for a new one")]
    Invalid,
    /// The token's `exp` has passed.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// The token was revoked, directly or because its parent was.
    #[error("the token was revoked: ask for a new one")]
    Revoked,
    /// The token's user is disabled.
    #[error("this token's user is disabled")]
    UserDisabled,
}

impl TokenRefusal {
    /// Returns the stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid => "token_invalid",
            Self::Expired => "token_expired",
            Self::Revoked => "token_revoked",
            Self::UserDisabled => "user_disabled",
        }
    }
}

/// Why an authenticated caller may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forbidden {
    /// The caller is not a member of the room, the room does not exist, its id is not a UUID, or the token's
    /// `permissions.rooms` exclude it. All give the same error, so that it does not reveal which rooms exist.
    #[error("you are not a member of this room, or this token is not good for it")]
    NotAMember,
    /// Only a CLIENT token may do this; in some calls also an ADMIN's token.
    #[error("only a CLIENT token may do this")]
    ClientOnly,
    /// Only a CLIENT token may name another `userId`.
    #[error("only a CLIENT token may act for another user: leave `userId` out, or name yourself")]
    NotYourself,
    /// The token's `permissions` do not include `read`.
    #[error("this token's permissions do not include \"read\"")]
    NeedsRead,
    /// The token's `permissions` do not include `write`.
    #[error("this token's permissions do not include \"write\"")]
    NeedsWrite,
    /// The token's `permissions` do not include `delete`.
    #[error("this token's permissions do not include \"delete\"")]
    NeedsDelete,
    /// The call needs a token without restrictions.
    #[error("this call needs a token whose permissions are not restricted")]
    NeedsUnrestricted,
    /// Only the room's owner, a MODERATOR among its members, or a CLIENT token may do this.
    #[error("only the room's owner, a moderator who is a member, or a CLIENT token may do this")]
    NotAModerator,
    /// Only the message's author or a CLIENT token may edit it.
    #[error("only the message's author or a CLIENT token may do this")]
    NotTheAuthor,
    /// A moderator may not remove the room's owner. The owner may leave, and CLIENT and ADMIN tokens may remove the owner.
    #[error("the room's owner cannot be removed by a moderator")]
    OwnerStays,
    /// A CLIENT token acts for this user. Only a CLIENT token may disable this user, because an application's backend would
    /// lose its access.
    #[error("a CLIENT token acts in this user's name: only a CLIENT token may disable this user")]
    BehindClientToken,
    /// A token may not mint another with more rights or a later expiry than its own.
    #[error("a token may not mint another with more rights than its own")]
    MoreRights,
}

impl Forbidden {
    /// Returns the stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAMember => "not_a_member",
            Self::ClientOnly => "client_token_required",
            Self::NotYourself => "not_yourself",
            Self::NeedsRead => "needs_read",
            Self::NeedsWrite => "needs_write",
            Self::NeedsDelete => "needs_delete",
            Self::NeedsUnrestricted => "needs_unrestricted_token",
            Self::NotAModerator => "not_a_moderator",
            Self::NotTheAuthor => "not_the_author",
            Self::OwnerStays => "owner_stays",
            Self::BehindClientToken => "behind_client_token",
            Self::MoreRights => "more_rights_than_own",
        }
    }
}

/// The object that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotFound {
    /// No such user.
    #[error("there is no such user")]
    User,
    /// No such room. Only callers who may see every room get this error.
    #[error("there is no such room")]
    Room,
    /// No such token.
    #[error("there is no such token")]
    Token,
    /// No such message in the room.
    #[error("there is no such message in this room")]
    Message,
    /// No such message in the room as the parent of a thread.
    #[error("there is no such message in this room")]
    Parent,
}

impl NotFound {
    /// Returns the stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::User => "user_not_found",
            Self::Room => "room_not_found",
            Self::Token => "token_not_found",
            Self::Message => "message_not_found",
            Self::Parent => "parent_not_found",
        }
    }
}

/// Why a call conflicts with stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Conflict {
    /// Another user has this name.
    #[error("this username is taken: choose another")]
    UsernameTaken,
    /// A user that gets rights over others, or is enabled again, has a name that looks like another user's.
    #[error("another user has a name that looks the same: rename or disable one of the two first")]
    UsernameLookalike,
    /// The same `Idempotency-Key` was used with another body.
    #[error("this Idempotency-Key was used with another body: use a new key for a new request")]
    IdempotencyKeyReused,
    /// The same `clientMessageId` was used with another content.
    #[error("this clientMessageId was used with another content: use a new id for a new message")]
    ClientMessageIdReused,
    /// The message has a later version than the one on which the edit is based.
    #[error(
        "this message was changed meanwhile: look at it again, and send the change with its present version as `ifVersion`"
    )]
    VersionConflict,
    /// The message was deleted, and can't be changed any more.
    #[error("this message was deleted: nothing about it can be changed any more")]
    MessageDeleted,
    /// The room has the maximum of pinned messages.
    #[error("this room has as many pinned messages as it may: unpin one first")]
    TooManyPins,
}

impl Conflict {
    /// Returns the stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UsernameTaken => "username_taken",
            Self::UsernameLookalike => "username_lookalike",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::ClientMessageIdReused => "client_message_id_reused",
            Self::VersionConflict => "version_conflict",
            Self::MessageDeleted => "message_deleted",
            Self::TooManyPins => "too_many_pins",
        }
    }
}

/// Why the server can't serve a call now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    /// The database can't be reached, or does not accept writes: it is read-only, or one of its files can't be read or written.
    #[error("the database is away; try again")]
    StoreAway,
    /// The queue of writes is full.
    #[error("too many writes are waiting; try again")]
    QueueFull,
    /// The database's disk has no space left.
    #[error("the database's disk is full: reading works, writing resumes when there is space")]
    DiskFull,
    /// The outcome of the commit is unknown, or the change is stored and may not be effective yet.
    #[error("it is not known whether this took effect: send it again, with the same clientMessageId or Idempotency-Key")]
    OutcomeUnknown,
    /// A newer release stored the answer of this `Idempotency-Key` in a format that this release can't read.
    #[error(
        "a newer version of the server has done this, and only it can tell the answer: send it again with the same \
         Idempotency-Key"
    )]
    NewerVersion,
    /// The control log could not be read for so long that the rights of tokens are unknown.
    #[error("this node can't tell at the moment which tokens are valid; try again")]
    AuthorityStale,
    /// The maximum of calls or unsent answers of this user, or of this node, is in progress.
    #[error("too many calls or answers are under way: read those that were sent, ask for less at once, and try again")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping; try again")]
    Stopping,
}

impl Unavailable {
    /// Returns the stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::StoreAway => "store_away",
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NewerVersion => "newer_version",
            Self::AuthorityStale => "authority_stale",
            Self::Overloaded => "overloaded",
            Self::Stopping => "stopping",
        }
    }

    /// Returns how long a client should wait before a retry.
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::DiskFull => Duration::from_secs(10),
            _ => Duration::from_secs(1),
        }
    }
}

/// The rate limits of a user. Each counts separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimited {
    /// Messages.
    Messages,
    /// Changes other than messages: of rooms, members, names, tokens, users.
    Changes,
    /// Reads over REST.
    Reads,
    /// Signals, such as typing.
    Signals,
}

impl RateLimited {
    /// Returns the name of the limit in error messages and in the headers `RateLimit` and `RateLimit-Policy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Changes => "changes",
            Self::Reads => "reads",
            Self::Signals => "signals",
        }
    }
}

/// The error of an op.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// The call is not allowed.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Something that the call names does not exist.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The call conflicts with stored data.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The server can't serve the call now; a retry may succeed.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The user exceeded a rate limit. Contains how long to wait.
    #[error("too many {}: wait {} ms", .0.name(), .1.as_millis())]
    RateLimited(RateLimited, Duration),
    /// The user has stored the maximum of bytes for this day. Contains the time until the next day, in UTC.
    #[error("you have stored as much as one may in a day: the next begins in {} s, at midnight UTC", .0.as_secs())]
    QuotaExceeded(Duration),
    /// An error of the server itself. The log has the cause, under the request's id.
    #[error("the server failed to do this; its log has the reason under this request's id")]
    Internal,
}

impl Error {
    /// Returns the stable code on the wire.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Token(refusal) => refusal.code(),
            Self::Forbidden(forbidden) => forbidden.code(),
            Self::NotFound(absent) => absent.code(),
            Self::Conflict(conflict) => conflict.code(),
            Self::Unavailable(unavailable) => unavailable.code(),
            Self::RateLimited(..) => "rate_limited",
            Self::QuotaExceeded(_) => "quota_exceeded",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call may succeed later without being changed.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::RateLimited(..) | Self::QuotaExceeded(_))
    }
}
