//! What is remembered under an `Idempotency-Key`.

mod stored;

use chatsphere_core::store::{Done, IDEMPOTENCY_KEPT, Idempotency, MembershipChanged};
use chatsphere_core::{Conflict, Error, Room, RoomId, Seq, Timestamp, Token, TokenId, Unavailable, User};

use self::stored::Stored;
use crate::write::database::Idempotencies;
use crate::write::failure::{Failure, Stop, refuse};

/// How a write turned out. Stored as JSON, for a day at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A message, named rather than held: contents are kept once.
    Message { room: RoomId, seq: Seq },
    /// A token with its user, whether made with it or for it.
    Token(Box<Minted>),
    /// A room as it was when it was made.
    Room(Box<Room>),
    /// What a membership change did.
    Membership(MembershipChanged),
}

/// A token that was minted, its user, and by which token. The last is absent where the operator did it, or an earlier release
/// of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Minted {
    pub(crate) token: Token,
    pub(crate) user: User,
    pub(crate) minted_by: Option<TokenId>,
}

impl Outcome {
    /// The JSON to store.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Stored::from(self))
    }

    /// Reads what was stored. `None` if a newer release stored it in a shape that this one does not know.
    pub(crate) fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str::<Stored>(json).ok().map(Self::from)
    }
}

/// An answer to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyRecord {
    pub(crate) idempotency: Idempotency,
    pub(crate) outcome: Outcome,
    pub(crate) at: Timestamp,
}

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundRecord {
    pub(crate) body: [u8; 32],
    /// Absent if this release can't read it.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) at: Timestamp,
}

/// What was stored before this moment is as good as absent at `now`.
pub(crate) fn forgotten_before(now: Timestamp) -> Timestamp {
    let kept = i64::try_from(IDEMPOTENCY_KEPT.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(kept))
}

impl FoundRecord {
    pub(crate) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.at < forgotten_before(now)
    }

    /// The earlier outcome, if this is the same request again.
    pub(crate) fn same(&self, idempotency: &Idempotency) -> Result<&Outcome, Error> {
        if self.body != idempotency.body {
            return Err(Conflict::IdempotencyKeyReused.into());
        }
        self.outcome.as_ref().ok_or(Unavailable::NewerVersion.into())
    }
}

/// A value that can be an outcome; of messages, [`decide`](super::decide) takes care.
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

/// What the same request answered before, if it came before.
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
        // Another kind of request under the same key is another request.
        Ok(outcome) => match T::from_outcome(outcome.clone()) {
            Some(value) => Ok(Some(Done { value, replayed: true })),
            None => refuse(Conflict::IdempotencyKeyReused),
        },
    }
}

/// Keeps what is answered now, and lets go of some that nobody may ask for any more.
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

/// Keeps several at once.
pub(super) async fn keep_all(database: &mut impl Idempotencies, records: &[IdempotencyRecord]) -> Result<(), Failure> {
    let Some(now) = records.iter().map(|record| record.at).max() else { return Ok(()) };
    database.insert_records(records).await?;
    // Twice as many may go as came, so that the table shrinks to a day's worth, without ever a long pause for it.
    database.forget(forgotten_before(now), records.len() * 2).await
}
