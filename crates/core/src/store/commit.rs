//! What a commit did, for those who are told of it.

use std::any::Any;
use std::sync::Arc;

use super::writes::{Changed, Done};
use crate::error::Error;
use crate::event::Event;
use crate::ids::{MessageId, RoomId};
use crate::model::Message;
use crate::seq::{Seq, Version};
use crate::time::Timestamp;

/// What one group commit added to rooms, in commit order, and what became of the writes that asked for an acknowledgement.
#[derive(Default)]
pub struct Committed {
    /// Durable events of rooms. Several of one room come in the order of their `seq`.
    pub events: Vec<Arc<Event>>,
    /// One for each write that was submitted with an [`AckTo`], in the order in which they were.
    pub acks: Vec<Ack>,
}

/// What became of a write.
pub struct Ack {
    /// The room that the write was for, so that both can travel together.
    pub room_id: Option<RoomId>,
    /// Whom to tell.
    pub to: AckTo,
    /// What to tell.
    pub outcome: Result<Receipt, Error>,
}

/// What an acknowledgement says of a message that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room_id: RoomId,
    /// The message.
    pub message_id: MessageId,
    /// The number of the event.
    pub seq: Seq,
    /// When that event was accepted.
    pub at: Timestamp,
    /// Of a change: which version the message is now, and the event that last changed anything of it.
    pub change: Option<(Version, Seq)>,
}

impl From<&Done<Message>> for Receipt {
    fn from(done: &Done<Message>) -> Self {
        let message = &done.value;
        Self { room_id: message.room_id, message_id: message.id, seq: message.seq, at: message.created_at, change: None }
    }
}

impl From<&Changed> for Receipt {
    fn from(changed: &Changed) -> Self {
        let Changed { message, seq, at } = changed;
        let change = Some((message.version(), message.change_seq()));
        Self { room_id: message.room_id, message_id: message.id, seq: *seq, at: *at, change }
    }
}

/// Whom to acknowledge a write to. A front door puts in what the [`CommitSink`] needs to find the asking client again; the
/// store hands it on unread. It is dropped unread only if the store came to an end in mid-commit, so that nobody knows the
/// outcome.
pub struct AckTo(Box<dyn Any + Send + Sync>);

impl AckTo {
    /// Wraps what the sink will read.
    pub fn new(to: impl Any + Send + Sync) -> Self {
        Self(Box::new(to))
    }

    /// What was wrapped, if it is of this type.
    pub fn read<T: Any>(self) -> Option<Box<T>> {
        self.0.downcast().ok()
    }
}

/// Told of every commit that added to a room or acknowledges a write, and of each refusal that is to be acknowledged.
pub trait CommitSink: Send + Sync + 'static {
    /// The events are durable and visible to every read. Each acknowledgement is to be sent, now or soon. Called on the
    /// writer's own thread, refusals also on the thread that submits: must return quickly and never block.
    fn committed(&self, batch: Committed);
}
