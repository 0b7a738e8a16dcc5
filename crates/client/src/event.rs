use chatsphere_protocol::frames::EventFrame;
use chatsphere_protocol::rest::{Message, UserRef};
use chatsphere_types::{RoomId, Seq, Timestamp};

/// A durable event of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which room.
    pub room: RoomId,
    /// Its number in the room: 1, 2, 3 … without a gap.
    pub seq: Seq,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A message was posted. In a replay it is shown in its present state.
    Message(Message<'static>),
    /// A user became a member.
    MemberJoined {
        /// Who.
        user: UserRef<'static>,
        /// Who did it.
        by: UserRef<'static>,
        /// When.
        at: Timestamp,
    },
    /// A user is no longer a member.
    MemberLeft {
        /// Who.
        user: UserRef<'static>,
        /// Who did it.
        by: UserRef<'static>,
        /// When.
        at: Timestamp,
    },
    /// A kind that this version of the client does not know. It has its number all the same.
    Other {
        /// Its `type`.
        name: String,
        /// The whole frame.
        json: String,
    },
}

impl Event {
    /// The message, if it is one.
    pub fn message(&self) -> Option<&Message<'static>> {
        match &self.kind {
            EventKind::Message(message) => Some(message),
            _ => None,
        }
    }
}

impl From<Message<'static>> for Event {
    fn from(message: Message<'static>) -> Self {
        Self { room: message.room_id, seq: message.seq, kind: EventKind::Message(message) }
    }
}

impl From<EventFrame<'static>> for Event {
    fn from(frame: EventFrame<'static>) -> Self {
        let (room, seq) = (frame.room_id(), frame.seq());
        let kind = match frame {
            EventFrame::NewMessage { message, .. } => EventKind::Message(message),
            EventFrame::MemberJoined { user, by, created_at, .. } => EventKind::MemberJoined { user, by, at: created_at },
            EventFrame::MemberLeft { user, by, created_at, .. } => EventKind::MemberLeft { user, by, at: created_at },
        };
        Self { room, seq, kind }
    }
}
