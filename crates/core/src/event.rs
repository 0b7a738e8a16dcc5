//! The durable events of a room: the kinds, the name of each, how its row is read, and how many bytes it takes.
//!
//! The code between the rule that appends an event and the frame that shows it does not depend on kinds. A new kind is a
//! variant of [`EventKind`] here, a variant in the protocol, and a rule in the store.

use chatsphere_types::{MessageId, RoomId, Seq, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use crate::encoded::{EncodedLen, FIXED, FIXED_ABOUT, FIXED_DETAILS, FIXED_USER};
use crate::limits::Limits;
use crate::model::{Message, UserRef};

/// A durable event of a room. Nodes send each other its serialised form; clients get frames of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The room.
    pub room_id: RoomId,
    /// The event's number in the room, which the commit assigns.
    pub seq: Seq,
    /// When the server accepted the event.
    pub at: Timestamp,
    /// The kind, with its data.
    pub kind: EventKind,
}

/// The kinds of durable events. On the wire each is a frame with its own `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A message was posted.
    Message(Message),
    /// `user` became a member, added by `by`.
    MemberJoined {
        /// The new member.
        user: UserRef,
        /// The user who made the change; the same as `user` if nobody else did.
        by: UserRef,
    },
    /// `user` is no longer a member, removed by `by`.
    MemberLeft {
        /// The former member.
        user: UserRef,
        /// The user who made the change; the same as `user` if nobody else did.
        by: UserRef,
    },
    /// A message was changed by `by`.
    MessageChanged {
        /// What was done to it.
        how: MessageChangeKind,
        /// The message.
        message: EventMessage,
        /// The user who did it.
        by: UserRef,
    },
    /// A message was posted that was deleted for good since.
    MessageRemoved {
        /// The message.
        message_id: MessageId,
    },
    /// An event of a kind that a newer release has stored. It keeps its number, and is shown as far as its row is understood.
    /// It is never sent over the bus: each node reads it from the store.
    #[serde(skip)]
    Unknown {
        /// The name of the kind.
        kind: Box<str>,
        /// The row of the event.
        row: Box<EventRow>,
    },
}

/// What an event did to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageChangeKind {
    /// The content was edited.
    Edited,
    /// The message was deleted.
    Deleted,
    /// The message was pinned.
    Pinned,
    /// The message was unpinned.
    Unpinned,
}

/// The row of an event other than a new message, without its room, number, kind and time. Names are the current ones. The row
/// has no message text: it references a message, which is read when the event is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// The user concerned; the same as `by` if the event concerns no user.
    pub user: UserRef,
    /// The user who caused the event.
    pub by: UserRef,
    /// The referenced message, in its current state.
    pub message: Option<Box<Message>>,
    /// The other data, as a JSON object with the fields of the event's frame.
    pub body: Option<String>,
}

/// The message of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventMessage {
    /// The message in its current state.
    Shown(Box<Message>),
    /// A later event shows a later state of the message, so only its key is given.
    Superseded(MessageKey),
}

/// The id and the number of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageKey {
    /// The message's id.
    pub id: MessageId,
    /// The number of the event that posted the message.
    pub seq: Seq,
}

impl EventKind {
    /// The name of the event at the place of a message that was deleted for good.
    pub const REMOVED: &str = "message_removed";

    /// Returns the name of the kind, in the database and as the `type` of its frame.
    pub fn name(&self) -> &str {
        match self {
            Self::Message(_) => "new_message",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::MessageChanged { how, .. } => how.event_name(),
            Self::MessageRemoved { .. } => Self::REMOVED,
            Self::Unknown { kind, .. } => kind,
        }
    }

    /// Makes an event's kind of its row, for every database. New messages have rows of another table.
    pub fn from_row(kind: &str, row: EventRow) -> Self {
        match (kind, row) {
            ("member_joined", row) => Self::MemberJoined { user: row.user, by: row.by },
            ("member_left", row) => Self::MemberLeft { user: row.user, by: row.by },
            (Self::REMOVED, EventRow { message: Some(message), .. }) => Self::MessageRemoved { message_id: message.id },
            (kind, row) => Self::of_message(kind, row),
        }
    }

    fn of_message(kind: &str, row: EventRow) -> Self {
        match (MessageChangeKind::of_event(kind), row) {
            (Some(how), EventRow { message: Some(message), by, .. }) => {
                Self::MessageChanged { how, message: EventMessage::of(how, message), by }
            }
            (_, row) => Self::Unknown { kind: kind.into(), row: Box::new(row) },
        }
    }

    /// Returns the message of an event about an existing message.
    pub fn message_mut(&mut self) -> Option<&mut EventMessage> {
        match self {
            Self::MessageChanged { message, .. } => Some(message),
            Self::Message(_)
            | Self::MemberJoined { .. }
            | Self::MemberLeft { .. }
            | Self::MessageRemoved { .. }
            | Self::Unknown { .. } => None,
        }
    }
}

impl MessageChangeKind {
    const ALL: [Self; 4] = [Self::Edited, Self::Deleted, Self::Pinned, Self::Unpinned];

    /// Returns the name of the event's kind.
    pub const fn event_name(self) -> &'static str {
        match self {
            Self::Edited => "message_edited",
            Self::Deleted => "message_deleted",
            Self::Pinned => "message_pinned",
            Self::Unpinned => "message_unpinned",
        }
    }

    fn of_event(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.event_name() == name)
    }
}

impl EventMessage {
    /// Shows a message in an event of this kind. Of one that was deleted for good, only its deletion shows what is left.
    fn of(how: MessageChangeKind, message: Box<Message>) -> Self {
        let is_shown = !message.is_removed() || how == MessageChangeKind::Deleted;
        if is_shown { Self::Shown(message) } else { Self::Superseded(message.key()) }
    }

    /// Returns the key of the message.
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
    /// Returns the message, if this event posted one.
    pub fn message(&self) -> Option<&Message> {
        if let EventKind::Message(message) = &self.kind { Some(message) } else { None }
    }

    /// Returns the user whose membership this event ends.
    pub fn departed(&self) -> Option<UserId> {
        if let EventKind::MemberLeft { user, .. } = &self.kind { Some(user.id) } else { None }
    }

    /// Returns the message that this event shows: the one that it posts, or an existing one.
    pub fn shown_message(&self) -> Option<&Message> {
        match &self.kind {
            EventKind::Message(message) => Some(message),
            EventKind::MessageChanged { message: EventMessage::Shown(message), .. } => Some(message),
            _ => None,
        }
    }

    /// Shows the message in another state, if the event shows it.
    pub fn show(&mut self, state: Message) {
        match &mut self.kind {
            EventKind::Message(_) if state.is_removed() => self.kind = EventKind::MessageRemoved { message_id: state.id },
            EventKind::Message(message) => *message = state,
            EventKind::MessageChanged { how, message, .. } => {
                if let EventMessage::Shown(shown) = message {
                    **shown = state;
                    *message = EventMessage::of(*how, shown.clone());
                }
            }
            _ => {}
        }
    }

    /// Returns the message that this event deletes.
    pub fn deleted_message(&self) -> Option<MessageKey> {
        match &self.kind {
            EventKind::MessageChanged { how: MessageChangeKind::Deleted, message, .. } => Some(message.key()),
            _ => None,
        }
    }

    /// Returns the bytes of the event's texts, names included.
    pub fn text_len(&self) -> usize {
        match &self.kind {
            EventKind::Message(message) => message.text_len(),
            EventKind::MemberJoined { user, by } | EventKind::MemberLeft { user, by } => user.text_len() + by.text_len(),
            EventKind::MessageChanged { message, by, .. } => message.text_len() + by.text_len(),
            EventKind::MessageRemoved { .. } => 0,
            EventKind::Unknown { kind, row } => kind.len() + row.text_len(),
        }
    }

    /// Returns the bytes of memory that the event takes.
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
            EventKind::MessageChanged { message, by, .. } => message.encoded_len() + by.encoded_len(),
            EventKind::MessageRemoved { .. } => FIXED,
            // `body` is JSON, which is not escaped again.
            EventKind::Unknown { kind, row } => {
                let body = row.body.as_ref().map_or(0, String::len);
                FIXED + 2 * kind.len() + row.user.encoded_len() + row.by.encoded_len() + body
            }
        }
    }
}

/// Returns the largest [`EncodedLen`] of an event under these limits. It is that of an edit of a message that consists of
/// control characters, with the names of its author and its editor. Names have no control characters, and a character takes at
/// most four bytes.
pub fn largest_event(limits: &Limits) -> usize {
    let name = 4 * limits.username_chars;
    let message = FIXED + 6 * limits.message_bytes + 2 * limits.client_message_id_bytes + name;
    message + FIXED_DETAILS + FIXED_ABOUT + FIXED_USER + name
}
