//! The stored outcomes of `Idempotency-Key`s.

mod stored;

use chatsphere_core::store::{Done, IDEMPOTENCY_KEPT, Idempotency, MembershipChanged};
use chatsphere_core::{Conflict, Error, Room, RoomId, Seq, Timestamp, Token, TokenId, Unavailable, User};

use self::stored::Stored;
use crate::write::database::Idempotencies;
use crate::write::failure::{Failure, Stop, refuse};

/// The outcome of a write. It is stored as JSON, for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A message. It is referenced, so that its content is stored only once.
    Message { room: RoomId, seq: Seq },
    /// A token with its user, which may have been created with it.
    Token(Box<Minted>),
    /// A room at its creation.
    Room(Box<Room>),
    /// The result of a membership change.
    Membership(MembershipChanged),
}

/// A minted token, its user, and the token that minted it. The last is absent if the operator or an earlier release minted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Minted {
    pub(crate) token: Token,
    pub(crate) user: User,
    pub(crate) minted_by: Option<TokenId>,
}

impl Outcome {
    /// Returns the JSON to store.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Stored::from(self))
    }

    /// Parses stored JSON. Returns `None` if a newer release stored it in a format that this one does not know.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str::<Stored>(json).ok().map(Self::from)
    }
}

/// An outcome to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyRecord {
    pub(crate) idempotency: Idempotency,
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}

/// A stored outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundRecord {
    pub(crate) body: [u8; 32],
    /// `None` if this release can't read it.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) at: Timestamp,
}

/// Returns the time before which a record counts as expired at `now`.
pub(crate) fn forgotten_before(now: Timestamp) -> Timestamp {
    let kept = i64::try_from(IDEMPOTENCY_KEPT.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(kept))
}

impl FoundRecord {
    pub(crate) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.at < forgotten_before(now)
    }

    /// Returns the earlier outcome, if this is the same request. Its hash may have been stored before hashes had a key.
    pub(crate) fn same(&self, idempotency: &Idempotency) -> Result<&Outcome, Error> {
        if self.body != idempotency.body && self.body != idempotency.unkeyed_body {
            return Err(Conflict::IdempotencyKeyReused.into());
        }
        self.outcome.as_ref().ok_or(Unavailable::NewerVersion.into())
    }
}

/// An answer that can be an outcome. [`decide`](super::decide) handles those of messages.
pub(super) trait Recordable: Clone + Sized {
    fn to_outcome(&self) -> Outcome;
    fn from_outcome(outcome: Outcome) -> Option<Self>;
}

impl Recordable for Minted {
    fn to_outcome(&self) -> Outcome {
        Outcome::Token(Box::new(self.clone()))
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        if let Outcome::Token(minted) = outcome { Some(*minted) } else { None }
    }
}

impl Recordable for Room {
    fn to_outcome(&self) -> Outcome {
        Outcome::Room(Box::new(self.clone()))
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        if let Outcome::Room(room) = outcome { Some(*room) } else { None }
    }
}

impl Recordable for MembershipChanged {
    fn to_outcome(&self) -> Outcome {
        Outcome::Membership(*self)
    }

    fn from_outcome(outcome: Outcome) -> Option<Self> {
        if let Outcome::Membership(changed) = outcome { Some(changed) } else { None }
    }
}

/// Returns the answer of an earlier, equal request.
pub(super) async fn earlier<T: Recordable>(
    database: &mut impl Idempotencies,
    idempotency: Option<&Idempotency>,
    now: Timestamp,
) -> Result<Option<Done<T>>, Stop> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let Some(record) = database.find_record(&idempotency.key).await? else { return Ok(None) };
    if record.is_forgotten(now) {
        return Ok(None);
    }
    match record.same(idempotency) {
        Err(error) => refuse(error),
        // The same key with another kind of request is a conflict.
        Ok(outcome) => match T::from_outcome(outcome.clone()) {
            Some(value) => Ok(Some(Done { value, replayed: true })),
            None => refuse(Conflict::IdempotencyKeyReused),
        },
    }
}

/// Stores the answer of this request, and removes some expired records.
pub(super) async fn keep<T: Recordable>(
    database: &mut impl Idempotencies,
    idempotency: Option<&Idempotency>,
    value: T,
    at: Timestamp,
) -> Result<Done<T>, Failure> {
    if let Some(idempotency) = idempotency {
        keep_all(database, &[IdempotencyRecord { idempotency: *idempotency, outcome: value.to_outcome(), at }]).await?;
    }
    Ok(Done { value, replayed: false })
}

/// Stores several at once.
pub(super) async fn keep_all(database: &mut impl Idempotencies, records: &[IdempotencyRecord]) -> Result<(), Failure> {
    let Some(now) = records.iter().map(|record| record.at).max() else { return Ok(()) };
    database.insert_records(records).await?;
    // Up to twice as many are removed as are added, so that the table shrinks to the records of a day without a long pause.
    database.forget(forgotten_before(now), records.len() * 2).await
}
