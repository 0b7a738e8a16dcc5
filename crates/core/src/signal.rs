//! Signals: ephemeral notifications to open connections, such as typing. They are not stored and have no number. A newer signal
//! of the same kind may replace an older one, and signals are dropped first under pressure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, RateLimited};
use crate::ids::{MessageId, RoomId, UserId};
use crate::model::UserRef;
use crate::rate::Rate;
use crate::seq::Seq;
use crate::time::Monotonic;

/// The connections that receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Every connection that has joined the room, except those of the signal's own user.
    Room(RoomId),
    /// Every connection of this user.
    User(UserId),
}

/// How long a user counts as typing after a signal.
pub const TYPING_EXPIRES: Duration = Duration::from_secs(6);

/// Signals that a user may cause in a second.
pub const SIGNALS_PER_SECOND: u32 = 10;
/// The shortest interval in which a repeated signal is sent again. Clients repeat it every 3 s; the difference allows for
/// jitter of the network.
const REPEATED: Duration = Duration::from_millis(2_500);

/// A signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The topic, whose connections receive the signal.
    pub topic: Topic,
    /// The user who caused the signal.
    pub user: UserRef,
    /// The room's newest event in the snapshot in which the rights were checked. A node delivers the signal once the room's
    /// subscribers have all events up to this one. So a member who was removed by then does not receive it on any node.
    pub after: Seq,
    /// The content.
    pub kind: SignalKind,
}

/// The kinds of signals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SignalKind {
    /// A user types in a room, or has stopped typing.
    Typing {
        /// The room.
        room_id: RoomId,
        /// The message in whose thread the user types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_id: Option<MessageId>,
        /// Whether the user types or has stopped.
        on: bool,
    },
    /// A kind that a newer release sent. It is dropped.
    #[serde(other)]
    Unknown,
}

/// The rate limits of signals.
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
            // The burst of 2 lets a user stop, resume and stop again within the interval.
            ended: Rate::every(REPEATED, 2),
        }
    }
}

impl SignalRate {
    /// Counts a signal against its user.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn count(&self, user: UserId, now: Monotonic) -> Result<(), Error> {
        self.each.take(user, now).map_err(|wait| Error::RateLimited(RateLimited::Signals, wait))
    }

    /// Whether the user has sent the same beginning or end to this topic within 2.5 s. A repeated signal is not sent.
    pub(crate) fn is_repeated(&self, user: UserId, topic: Topic, begins: bool, now: Monotonic) -> bool {
        let rate = if begins { &self.begun } else { &self.ended };
        rate.take((user, topic), now).is_err()
    }
}

/// Delivers signals to the connections of this node and to other nodes.
pub trait SignalSink: Send + Sync + 'static {
    /// Queues a signal, or drops it if the queue is full. Never blocks.
    fn signal(&self, signal: Signal);
}

/// A sink that drops every signal, for a process without connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSignals;

impl SignalSink for NoSignals {
    fn signal(&self, _signal: Signal) {}
}
