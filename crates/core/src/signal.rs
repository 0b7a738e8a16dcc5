//! Signals: ephemeral notifications to open connections, such as typing. They are not stored and have no number. They are
//! dropped first under pressure.
//!
//! How each kind is merged, limited and addressed is defined here; delivery and NATS do not depend on kinds.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, RateLimited};
use crate::ids::{ConnectionId, MessageId, RoomId, UserId};
use crate::model::UserRef;
use crate::rate::Rate;
use crate::seq::Seq;
use crate::time::Monotonic;

/// The connections that receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Every connection that has joined the room, except those that [`Signal::except`] names.
    Room(RoomId),
    /// Every connection of this user.
    User(UserId),
}

/// How long a user counts as typing after a signal.
pub const TYPING_EXPIRES: Duration = Duration::from_secs(6);

/// Signals of each kind that a user may cause in a second.
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
    /// The connection that sent the signal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ConnectionId>,
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

/// The connections of a topic that do not receive a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Except {
    /// All connections receive it.
    Nobody,
    /// The connections of this user.
    User(UserId),
    /// This connection.
    Connection(ConnectionId),
}

impl Signal {
    /// The connections of the topic that do not receive the signal.
    pub fn except(&self) -> Except {
        match self.kind {
            SignalKind::Typing { .. } => Except::User(self.user.id),
            SignalKind::Unknown => self.from.map_or(Except::Nobody, Except::Connection),
        }
    }
}

impl SignalKind {
    /// The room that the signal is for.
    pub fn room_id(&self) -> Option<RoomId> {
        match self {
            Self::Typing { room_id, .. } => Some(*room_id),
            Self::Unknown => None,
        }
    }

    /// Whether a newer signal of the same topic and user replaces an older one that was not delivered yet.
    pub fn is_merged(&self) -> bool {
        match self {
            Self::Typing { .. } | Self::Unknown => true,
        }
    }
}

/// The rate limits of signals.
pub struct SignalRate {
    /// Each kind counts separately.
    each: Rate<(UserId, Discriminant<SignalKind>)>,
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
    pub(crate) fn count(&self, user: UserId, kind: &SignalKind, now: Monotonic) -> Result<(), Error> {
        self.each.take((user, discriminant(kind)), now).map_err(|wait| Error::RateLimited(RateLimited::Signals, wait))
    }

    /// Whether the user has sent the same beginning or end to this topic within 2.5 s. A repeated signal is not sent.
    pub(crate) fn is_repeated(&self, user: UserId, topic: Topic, kind: &SignalKind, now: Monotonic) -> bool {
        let rate = match kind {
            SignalKind::Typing { on: true, .. } => &self.begun,
            SignalKind::Typing { on: false, .. } => &self.ended,
            SignalKind::Unknown => return false,
        };
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
