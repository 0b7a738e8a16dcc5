//! What can go wrong, each with a stable code. Front doors turn these into HTTP statuses and `error` frames.

use std::borrow::Cow;
use std::time::Duration;

/// A field of the input that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidField {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What would be valid.
    pub message: Cow<'static, str>,
}

impl InvalidField {
    /// Names the field and what would be valid.
    pub fn new(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field, message: message.into() }
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// No token came with the call.
    #[error("no token was sent: send `Authorization: Bearer <token>`")]
    Missing,
    /// Not a JWT that this server signed, or of a user or token that does not exist.
    #[error("the token is not valid here: ask for a new one")]
    Invalid,
    /// Past its `exp`.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// Revoked, itself or the token that minted it.
    #[error("the token was revoked: ask for a new one")]
    Revoked,
    /// Its user is disabled.
    #[error("this token's user is disabled")]
    UserDisabled,
}

impl TokenRefusal {
    /// The stable code on the wire.
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

/// Why a valid call is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forbidden {
    /// The room is not the caller's, does not exist, is no UUID, or lies outside the token's `permissions.rooms`: told alike.
    #[error("you are not a member of this room, or this token is not good for it")]
    NotAMember,
    /// Only a CLIENT token, or an ADMIN's where that is said, may do this.
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
    /// Only a message's author, or a CLIENT token, changes what it says.
    #[error("only the message's author or a CLIENT token may do this")]
    NotTheAuthor,
    /// The owner leaves by their own will or by a CLIENT or ADMIN token alone.
    #[error("the room's owner cannot be removed by a moderator")]
    OwnerStays,
    /// A CLIENT token acts in this user's name: an application's backend would be out with it.
    #[error("a CLIENT token acts in this user's name: only a CLIENT token may disable this user")]
    BehindClientToken,
    /// A token may not mint one with more rights or a longer life than its own.
    #[error("a token may not mint another with more rights than its own")]
    MoreRights,
}

impl Forbidden {
    /// The stable code on the wire.
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

/// What is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotFound {
    /// No such user.
    #[error("there is no such user")]
    User,
    /// No such room; told only to those who may see every room.
    #[error("there is no such room")]
    Room,
    /// No such token.
    #[error("there is no such token")]
    Token,
    /// No such message in the room.
    #[error("there is no such message in this room")]
    Message,
    /// No such message in the room, to answer to in a thread.
    #[error("there is no such message in this room")]
    Parent,
}

impl NotFound {
    /// The stable code.
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

/// What a call collided with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Conflict {
    /// Another user has this name.
    #[error("this username is taken: choose another")]
    UsernameTaken,
    /// A user that gets rights over others, or is let in again, has a name that looks like another's.
    #[error("another user has a name that looks the same: rename or disable one of the two first")]
    UsernameLookalike,
    /// The same `Idempotency-Key` came with another body.
    #[error("this Idempotency-Key was used with another body: use a new key for a new request")]
    IdempotencyKeyReused,
    /// The same `clientMessageId` came with another content.
    #[error("this clientMessageId was used with another content: use a new id for a new message")]
    ClientMessageIdReused,
    /// A message is of a later version than the change was made for.
    #[error(
        "this message was changed meanwhile: look at it again, and send the change with its present version as `ifVersion`"
    )]
    VersionConflict,
}

impl Conflict {
    /// The stable code on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UsernameTaken => "username_taken",
            Self::UsernameLookalike => "username_lookalike",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::ClientMessageIdReused => "client_message_id_reused",
            Self::VersionConflict => "version_conflict",
        }
    }
}

/// Why the store can't serve now, though it could later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unavailable {
    /// The database cannot be reached, or takes no writes: it is read-only, or a file of it can't be read or written.
    #[error("the database is away; try again")]
    StoreAway,
    /// More writes wait than the queue holds.
    #[error("too many writes are waiting; try again")]
    QueueFull,
    /// No space is left for the database.
    #[error("the database's disk is full: reading works, writing resumes when there is space")]
    DiskFull,
    /// The commit's outcome is not known, or whether what it changed is effective.
    #[error("it is not known whether this took effect: send it again, with the same clientMessageId or Idempotency-Key")]
    OutcomeUnknown,
    /// The answer that an `Idempotency-Key` stands for was stored by a newer release, in a shape that this one can't read.
    #[error(
        "a newer version of the server has done this, and only it can tell the answer: send it again with the same \
         Idempotency-Key"
    )]
    NewerVersion,
    /// The control log could not be read for so long that tokens can't be judged.
    #[error("this node can't tell at the moment which tokens are valid; try again")]
    AuthorityStale,
    /// As many calls or answers are under way as this user, or this node, may have.
    #[error("too many calls or answers are under way: read those that were sent, ask for less at once, and try again")]
    Overloaded,
    /// The server is stopping.
    #[error("the server is stopping; try again")]
    Stopping,
}

impl Unavailable {
    /// The stable code on the wire.
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

    /// When to try again.
    pub const fn retry_after(self) -> Duration {
        match self {
            Self::DiskFull => Duration::from_secs(10),
            _ => Duration::from_secs(1),
        }
    }
}

/// What a user's rate limit bounds. Each is counted apart.
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
    /// The name of the limit, in an error's words and in the headers `RateLimit` and `RateLimit-Policy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Changes => "changes",
            Self::Reads => "reads",
            Self::Signals => "signals",
        }
    }
}

/// Everything an op can answer but success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// The token is refused.
    #[error(transparent)]
    Token(#[from] TokenRefusal),
    /// The call is not allowed.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Something named is absent.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The call collides with what is there.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Later it may work.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The user does more of one thing than it may in this time. How long to wait.
    #[error("too many {}: wait {} ms", .0.name(), .1.as_millis())]
    RateLimited(RateLimited, Duration),
    /// The user has stored as many bytes as it may in a day. When the next begins.
    #[error("you have stored as much as one may in a day: the next begins in {} s, at midnight UTC", .0.as_secs())]
    QuotaExceeded(Duration),
    /// A fault of this server's own. The cause is in the log, under the request's id.
    #[error("the server failed to do this; its log has the reason under this request's id")]
    Internal,
}

impl Error {
    /// The stable code on the wire.
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
