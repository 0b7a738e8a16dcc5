//! The results of a group commit, as the [`CommitSink`] receives them.

use std::any::Any;
use std::sync::Arc;

use super::writes::{Changed, Done};
use crate::error::Error;
use crate::event::Event;
use crate::ids::{MessageId, RoomId};
use crate::model::Message;
use crate::seq::{Seq, Version};
use crate::time::Timestamp;

/// The events that one group commit added to rooms, in commit order, and the acknowledgements of its writes.
#[derive(Default)]
pub struct Committed {
    /// Durable events of rooms. Those of one room are in the order of their `seq`.
    pub events: Vec<Arc<Event>>,
    /// One for each write that was submitted with an [`AckTo`], in the order of submission.
    pub acks: Vec<Ack>,
}

/// The acknowledgement of a write.
pub struct Ack {
    /// The room of the write, so that its acknowledgement and its event can be sent together.
    pub room_id: Option<RoomId>,
    /// The recipient.
    pub to: AckTo,
    /// The outcome of the write.
    pub outcome: Result<Receipt, Error>,
}

/// The outcome of a write of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The room.
    pub room_id: RoomId,
    /// The message.
    pub message_id: MessageId,
    /// The number of the event.
    pub seq: Seq,
    /// When the server accepted that event.
    pub at: Timestamp,
    /// For an edit: the message's current version, and the number of the event that last changed the message.
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

/// The recipient of an acknowledgement. A front door wraps the data by which the [`CommitSink`] finds the client; the store
/// passes it on unread. It is dropped without an acknowledgement only if the store fails during a commit, when the outcome is
/// unknown.
pub struct AckTo(Box<dyn Any + Send + Sync>);

impl AckTo {
    /// Wraps data for the sink.
    pub fn new(to: impl Any + Send + Sync) -> Self {
        Self(Box::new(to))
    }

    /// Returns the wrapped data, if it is of this type.
    pub fn read<T: Any>(self) -> Option<Box<T>> {
        self.0.downcast().ok()
    }
}

/// Receives the results of commits and the refusals of writes.
pub trait CommitSink: Send + Sync + 'static {
    /// The store calls this after each commit that added events to a room or acknowledges a write, and for each refusal of a
    /// write that was submitted with an [`AckTo`]. The events are durable and visible to every read. The sink sends each
    /// acknowledgement, at once or soon. The call comes from the writer's own thread, or for refusals also from the submitting
    /// thread: it must return quickly and never block.
    fn committed(&self, batch: Committed);
}
