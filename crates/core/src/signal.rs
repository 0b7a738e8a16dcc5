//! Signals: what is told to those who are connected at this moment, and stored nowhere. They have no number, may be merged with a
//! newer one of the same kind, and are the first to be dropped under pressure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{MessageId, RoomId, UserId};
use crate::model::UserRef;
use crate::seq::Seq;

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
