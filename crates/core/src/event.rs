//! The durable events of a room: their kinds, the word for each, how it is read from the database, and how many bytes it takes.
//!
//! What lies between the rule that appends an event and the frame that shows it passes events on and knows no kinds. A new kind
//! is a variant of [`EventKind`] here, one of the protocol's, and its rule in the store.

use chatsphere_types::{MessageId, RoomId, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::encoded::{EncodedLen, FIXED, FIXED_ABOUT, FIXED_CHANGE, FIXED_USER};
use crate::limits::Limits;
use crate::model::{Message, UserRef};

/// One durable event of a room. Its serialised form is what nodes tell each other; clients get frames of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The room.
    pub room_id: RoomId,
    /// Its number in the room, given inside the commit.
    pub seq: Seq,
    /// When it was accepted.
    pub at: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of durable events. Each is a frame of its own type on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A message was posted.
    Message(Message),
    /// `user` became a member, added by `by`.
    MemberJoined {
        /// Who joined.
        user: UserRef,
        /// Who did it; the same as `user` if on their own.
        by: UserRef,
    },
    /// `user` is no longer a member, removed by `by`.
    MemberLeft {
        /// Who left.
        user: UserRef,
        /// Who did it; the same as `user` if on their own.
        by: UserRef,
    },
    /// The content of a message was changed by `by`.
    MessageEdited {
        /// Which message.
        message: EventMessage,
        /// Who did it.
        by: UserRef,
    },
    /// A kind that a newer release has stored. It keeps its number and is shown as far as its row can be understood. Nodes
    /// never tell each other of one: a node reads it from the store.
    #[serde(skip)]
    Unknown {
        /// The word for it.
        kind: Box<str>,
        /// Its row.
        row: Box<EventRow>,
    },
}

/// What the database keeps of an event other than a new message, besides its room, number, kind and time. Names are the present
/// ones, and no text of a message is kept: a message is named, and read when the event is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Whom it is about; the same as `by` where it is about nobody.
    pub user: UserRef,
    /// Who did it.
    pub by: UserRef,
    /// The message that it is about, in its present state.
    pub message: Option<Box<Message>>,
    /// The rest, as a JSON object with the names and the shape that the event's frame has.
    pub body: Option<String>,
}

/// The message that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventMessage {
    /// In its present state.
    Shown(Box<Message>),
    /// The page that the event stands in shows a later state of it.
    Superseded(MessageKey),
}

/// Names a message, by its id and by its number in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageKey {
    /// Its id.
    pub id: MessageId,
    /// Its number.
    pub seq: Seq,
}

impl EventKind {
    /// The word for the kind: in the database, and as the `type` of its frame.
    pub fn name(&self) -> &str {
        match self {
            Self::Message(_) => "new_message",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::MessageEdited { .. } => "message_edited",
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// Reads a row, the same for every database. New messages have rows of another table.
    pub fn from_row(kind: &str, row: EventRow) -> Self {
        match (kind, row) {
            ("member_joined", row) => Self::MemberJoined { user: row.user, by: row.by },
            ("member_left", row) => Self::MemberLeft { user: row.user, by: row.by },
            ("message_edited", EventRow { message: Some(message), by, .. }) => {
                Self::MessageEdited { message: EventMessage::Shown(message), by }
            }
            (_, row) => Self::Unknown { kind: kind.into(), row: Box::new(row) },
        }
    }

    /// The message that it is about, where it says more of it than that it was posted.
    pub fn message_mut(&mut self) -> Option<&mut EventMessage> {
        match self {
            Self::MessageEdited { message, .. } => Some(message),
            Self::Message(_) | Self::MemberJoined { .. } | Self::MemberLeft { .. } | Self::Unknown { .. } => None,
        }
    }
}

impl EventMessage {
    /// Which message it is.
    pub fn key(&self) -> MessageKey {
        match self {
            Self::Shown(message) => message.key(),
            Self::Superseded(key) => *key,
        }
    }

    fn text_len(&self) -> usize {
        if let Self::Shown(message) = self { message.held_len() } else { 0 }
    }
}

impl EncodedLen for EventMessage {
    fn encoded_len(&self) -> usize {
        if let Self::Shown(message) = self { FIXED_ABOUT + message.encoded_len() } else { FIXED }
    }
}

impl Event {
    /// The message, if the event is that it was posted.
    pub fn message(&self) -> Option<&Message> {
        if let EventKind::Message(message) = &self.kind { Some(message) } else { None }
    }

    /// Who ceased to be a member by it.
    pub fn departed(&self) -> Option<UserId> {
        if let EventKind::MemberLeft { user, .. } = &self.kind { Some(user.id) } else { None }
    }

    /// Bytes of the texts that it brings, names included.
    pub fn text_len(&self) -> usize {
        match &self.kind {
            EventKind::Message(message) => message.text_len(),
            EventKind::MemberJoined { user, by } | EventKind::MemberLeft { user, by } => user.text_len() + by.text_len(),
            EventKind::MessageEdited { message, by } => message.text_len() + by.text_len(),
            EventKind::Unknown { kind, row } => kind.len() + row.text_len(),
        }
    }

    /// Bytes of memory that it holds.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.text_len()
    }
}

impl EventRow {
    fn text_len(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.held_len());
        size_of::<Self>() + self.user.text_len() + self.by.text_len() + message + self.body.as_ref().map_or(0, String::len)
    }
}

impl EncodedLen for Event {
    fn encoded_len(&self) -> usize {
        match &self.kind {
            EventKind::Message(message) => message.encoded_len(),
            EventKind::MemberJoined { user, by } | EventKind::MemberLeft { user, by } => {
                FIXED + user.encoded_len() + by.encoded_len()
            }
            EventKind::MessageEdited { message, by } => message.encoded_len() + by.encoded_len(),
            // `body` is JSON already.
            EventKind::Unknown { kind, row } => {
                let body = row.body.as_ref().map_or(0, String::len);
                FIXED + 2 * kind.len() + row.user.encoded_len() + row.by.encoded_len() + body
            }
        }
    }
}

/// The largest [`EncodedLen`] of an event under these limits: that of an edit of a message of control characters alone, which
/// names its author and its editor. Names hold no control characters, and a character takes at most four bytes.
pub fn largest_event(limits: &Limits) -> usize {
    let name = 4 * limits.username_chars;
    let message = FIXED + 6 * limits.message_bytes + 2 * limits.client_message_id_bytes + name;
    message + FIXED_CHANGE + FIXED_ABOUT + FIXED_USER + name
}
