//! Signals: what is told to those who are connected at this moment, and stored nowhere. They have no number, may be merged with
//! a newer one of the same kind, and are the first to be dropped under pressure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, RateLimited};
use crate::ids::{MessageId, RoomId, UserId};
use crate::model::UserRef;
use crate::rate::Rate;
use crate::seq::Seq;
use crate::time::Monotonic;

/// To whom a signal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Every connection that has joined the room, but for those of the signal's own user.
    Room(RoomId),
    /// Every connection of this user.
    User(UserId),
}

/// For how long a user counts as typing without another signal.
pub const TYPING_EXPIRES: Duration = Duration::from_secs(6);

/// Signals that a user may cause a second.
pub const SIGNALS_PER_SECOND: u32 = 10;
/// How often the same signal of a user is sent again. Clients repeat it every 3 s; one that the network brings early counts
/// too.
const REPEATED: Duration = Duration::from_millis(2_500);

/// One signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// To whom it goes.
    pub topic: Topic,
    /// Who caused it.
    pub user: UserRef,
    /// The newest event of the room in the snapshot in which the rights were judged. A node delivers the signal once the room's
    /// subscribers have all events up to this one: so whoever was removed by then gets none, on any node.
    pub after: Seq,
    /// What it says.
    pub kind: SignalKind,
}

/// What a signal says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SignalKind {
    /// A user types in a room, or has stopped.
    Typing {
        /// Where.
        room_id: RoomId,
        /// In the thread of this message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_id: Option<MessageId>,
        /// Whether it types or has stopped.
        on: bool,
    },
    /// A kind that only a newer node knows. It is dropped.
    #[serde(other)]
    Unknown,
}

/// How often users may cause signals.
pub struct SignalRate {
    each: Rate<UserId>,
    begun: Rate<(UserId, Topic)>,
    ended: Rate<(UserId, Topic)>,
}

impl Default for SignalRate {
    fn default() -> Self {
        Self {
            each: Rate::new(SIGNALS_PER_SECOND, SIGNALS_PER_SECOND).counted("signal"),
            begun: Rate::every(REPEATED, 1),
            // Whoever stops and goes on is seen to stop.
            ended: Rate::every(REPEATED, 2),
        }
    }
}

impl SignalRate {
    /// Counts one against its user.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn count(&self, user: UserId, now: Monotonic) -> Result<(), Error> {
        self.each.take(user, now).map_err(|wait| Error::RateLimited(RateLimited::Signals, wait))
    }

    /// Whether a signal that begins something, or ends it, says what the one before has just said: it is not sent again.
    pub(crate) fn is_repeated(&self, user: UserId, topic: Topic, begins: bool, now: Monotonic) -> bool {
        let rate = if begins { &self.begun } else { &self.ended };
        rate.take((user, topic), now).is_err()
    }
}

/// Delivers signals to the connections of this node and to other nodes.
pub trait SignalSink: Send + Sync + 'static {
    /// Queues a signal, or drops it where too many wait. Never blocks.
    fn signal(&self, signal: Signal);
}

/// Delivers nothing: for a process without connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignals;

impl SignalSink for NoSignals {
    fn signal(&self, _signal: Signal) {}
}
