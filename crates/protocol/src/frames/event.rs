//! The durable events of a room, as clients see them.

use std::borrow::Cow;
use std::iter;

use chatsphere_types::{MessageId, RoomId, Seq, Timestamp};
use serde::de::Error as _;
use serde::de::value::MapDeserializer;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::rest::{DeletedMessage, Message, UserRef};

/// Frames that have `roomId` and `seq` and are not events.
const NO_EVENTS: [&str; 2] = ["ack", "join_confirmation"];

/// A durable event of a room: a frame, an item of `previous_messages.events`, and an item of `GET /api/rooms/{id}/events`.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventFrame<'a> {
    /// The room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// The event's number in the room: 1, 2, 3 … without a gap.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When the server accepted the event. Absent from `new_message`, whose message has it.
    #[schema(value_type = String, format = "date-time", required = false)]
    pub created_at: Option<Timestamp>,
    /// The kind of the event, with the fields of that kind.
    #[serde(flatten)]
    pub kind: EventKind<'a>,
}

/// The kinds of durable events.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// A message was posted. A replay shows it in its current state.
    NewMessage {
        /// The message.
        message: Message<'a>,
    },
    /// A user became a member.
    MemberJoined {
        /// The user.
        user: UserRef<'a>,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// A user is no longer a member.
    MemberLeft {
        /// The user.
        user: UserRef<'a>,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// A message's content was edited.
    #[serde(rename_all = "camelCase")]
    MessageEdited {
        /// The message.
        #[serde(flatten)]
        about: AboutMessage<'a>,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// A message was deleted. It keeps its place, with an empty `content`; with `hard` only its number is left.
    #[serde(rename_all = "camelCase")]
    MessageDeleted {
        /// The message.
        #[serde(flatten)]
        about: AboutDeleted<'a>,
        /// Whether the message was deleted for good.
        #[serde(default)]
        hard: bool,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// A message was pinned.
    #[serde(rename_all = "camelCase")]
    MessagePinned {
        /// The message.
        #[serde(flatten)]
        about: AboutMessage<'a>,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// A message was unpinned.
    #[serde(rename_all = "camelCase")]
    MessageUnpinned {
        /// The message.
        #[serde(flatten)]
        about: AboutMessage<'a>,
        /// The user who made the change.
        by: UserRef<'a>,
    },
    /// The place of a message that was deleted for good. It takes the place of `new_message`.
    #[serde(rename_all = "camelCase")]
    MessageRemoved {
        /// The message's id.
        #[schema(value_type = String, format = "uuid")]
        message_id: MessageId,
    },
    /// An event of a kind that this version does not know, or whose fields it can't parse. It still counts: the cursor moves to
    /// its `seq`.
    #[serde(skip)]
    Unknown {
        /// The frame's `type`.
        kind: Cow<'a, str>,
        /// Its fields except `type`, `roomId`, `seq` and `createdAt`.
        body: Map<String, Value>,
    },
}

/// The message of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AboutMessage<'a> {
    /// The message's id.
    #[schema(value_type = String, format = "uuid")]
    pub message_id: MessageId,
    /// The number of the event that posted the message.
    #[schema(value_type = u64)]
    pub message_seq: Seq,
    /// The message in its current state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message<'a>>,
    /// `true` in place of `message`: a later event has a newer state of the message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
}

/// The message of an event that deletes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AboutDeleted<'a> {
    /// The message's id.
    #[schema(value_type = String, format = "uuid")]
    pub message_id: MessageId,
    /// The number of the event that posted the message.
    #[schema(value_type = u64)]
    pub message_seq: Seq,
    /// What is left of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<DeletedMessage<'a>>,
    /// `true` in place of `message`: a later event has a newer state of the message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
}

impl EventKind<'_> {
    /// The frame's `type`.
    pub fn name(&self) -> &str {
        match self {
            Self::NewMessage { .. } => "new_message",
            Self::MemberJoined { .. } => "member_joined",
            Self::MemberLeft { .. } => "member_left",
            Self::MessageEdited { .. } => "message_edited",
            Self::MessageDeleted { .. } => "message_deleted",
            Self::MessagePinned { .. } => "message_pinned",
            Self::MessageUnpinned { .. } => "message_unpinned",
            Self::MessageRemoved { .. } => "message_removed",
            Self::Unknown { kind, .. } => kind,
        }
    }
}

impl<'a> EventFrame<'a> {
    /// The message of a `new_message` event.
    pub fn message(&self) -> Option<&Message<'a>> {
        if let EventKind::NewMessage { message } = &self.kind { Some(message) } else { None }
    }

    /// The state of a message that the event contains, and the number of that state. An event about a message that was deleted
    /// for good contains none. Of two states of one message, the one with
    /// the higher number is newer.
    pub fn state(&self) -> Option<(Seq, &Message<'a>)> {
        match &self.kind {
            EventKind::NewMessage { message } => Some((message.change_seq.unwrap_or(message.seq), message)),
            EventKind::MessageEdited { about, .. }
            | EventKind::MessagePinned { about, .. }
            | EventKind::MessageUnpinned { about, .. } => about.message.as_ref().map(|message| (self.seq, message)),
            EventKind::MessageDeleted { about, .. } => about.message.as_ref()?.tombstone().map(|message| (self.seq, message)),
            EventKind::MemberJoined { .. }
            | EventKind::MemberLeft { .. }
            | EventKind::MessageRemoved { .. }
            | EventKind::Unknown { .. } => None,
        }
    }
}

impl<'a> From<Message<'a>> for EventFrame<'a> {
    fn from(message: Message<'a>) -> Self {
        Self { room_id: message.room_id, seq: message.seq, created_at: None, kind: EventKind::NewMessage { message } }
    }
}

impl AboutMessage<'_> {
    fn serialize_into<M: SerializeMap>(&self, frame: &mut M) -> Result<(), M::Error> {
        serialize_about(frame, self.message_id, self.message_seq, self.message.as_ref(), self.superseded)
    }
}

impl AboutDeleted<'_> {
    fn serialize_into<M: SerializeMap>(&self, frame: &mut M) -> Result<(), M::Error> {
        serialize_about(frame, self.message_id, self.message_seq, self.message.as_ref(), self.superseded)
    }
}

fn serialize_about<M: SerializeMap>(
    frame: &mut M,
    id: MessageId,
    seq: Seq,
    message: Option<&impl Serialize>,
    superseded: bool,
) -> Result<(), M::Error> {
    frame.serialize_entry("messageId", &id)?;
    frame.serialize_entry("messageSeq", &seq)?;
    if let Some(message) = message {
        frame.serialize_entry("message", message)?;
    }
    if superseded {
        frame.serialize_entry("superseded", &true)?;
    }
    Ok(())
}

/// Written by hand for the order of fields: those of all kinds come first, so that a reader can stop after them.
impl Serialize for EventFrame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut frame = serializer.serialize_map(None)?;
        frame.serialize_entry("type", self.kind.name())?;
        frame.serialize_entry("roomId", &self.room_id)?;
        frame.serialize_entry("seq", &self.seq)?;
        match &self.kind {
            EventKind::NewMessage { message } => frame.serialize_entry("message", message)?,
            EventKind::MemberJoined { user, by } | EventKind::MemberLeft { user, by } => {
                frame.serialize_entry("user", user)?;
                frame.serialize_entry("by", by)?;
            }
            EventKind::MessageDeleted { about, hard, by } => {
                about.serialize_into(&mut frame)?;
                frame.serialize_entry("hard", hard)?;
                frame.serialize_entry("by", by)?;
            }
            EventKind::MessageRemoved { message_id } => frame.serialize_entry("messageId", message_id)?,
            EventKind::MessageEdited { about, by }
            | EventKind::MessagePinned { about, by }
            | EventKind::MessageUnpinned { about, by } => {
                about.serialize_into(&mut frame)?;
                frame.serialize_entry("by", by)?;
            }
            EventKind::Unknown { body, .. } => {
                body.iter().try_for_each(|(name, value)| frame.serialize_entry(name, value))?;
            }
        }
        if let Some(at) = &self.created_at {
            frame.serialize_entry("createdAt", at)?;
        }
        frame.end()
    }
}

impl<'de> Deserialize<'de> for EventFrame<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Fields { kind, room_id, seq, created_at, body } = Fields::deserialize(deserializer)?;
        if NO_EVENTS.contains(&&*kind) {
            return Err(D::Error::custom("no event"));
        }
        Ok(Self { room_id, seq, created_at, kind: read(kind, body) })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(rename = "type")]
    kind: String,
    room_id: RoomId,
    seq: Seq,
    #[serde(default)]
    created_at: Option<Timestamp>,
    #[serde(flatten)]
    body: Map<String, Value>,
}

/// Parses the fields of a known kind. Anything else becomes `Unknown`.
fn read<'a>(kind: String, body: Map<String, Value>) -> EventKind<'a> {
    let tag = Value::from(kind.as_str());
    let fields = iter::once(("type", &tag)).chain(body.iter().map(|(name, value)| (name.as_str(), value)));
    EventKind::deserialize(MapDeserializer::<_, serde_json::Error>::new(fields))
        .unwrap_or(EventKind::Unknown { kind: Cow::Owned(kind), body })
}
