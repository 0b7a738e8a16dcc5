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

use crate::rest::{Message, UserRef};

/// Frames that have `roomId` and `seq` side by side like an event, and are none.
const NO_EVENTS: [&str; 2] = ["ack", "join_confirmation"];

/// A durable event of a room, as a frame, in `previous_messages.events` and in `GET /api/rooms/{id}/events`.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventFrame<'a> {
    /// Which room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// Its number in the room: 1, 2, 3 … without a gap.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When it was accepted. Absent from `new_message`, whose message tells it.
    #[schema(value_type = String, format = "date-time", required = false)]
    pub created_at: Option<Timestamp>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind<'a>,
}

/// What happened in a room.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// A message was posted. In a replay it is shown in its present state.
    NewMessage {
        /// The message.
        message: Message<'a>,
    },
    /// A user became a member.
    MemberJoined {
        /// Who.
        user: UserRef<'a>,
        /// Who did it.
        by: UserRef<'a>,
    },
    /// A user is no longer a member.
    MemberLeft {
        /// Who.
        user: UserRef<'a>,
        /// Who did it.
        by: UserRef<'a>,
    },
    /// What a message says was changed.
    #[serde(rename_all = "camelCase")]
    MessageEdited {
        /// The message.
        #[serde(flatten)]
        about: AboutMessage<'a>,
        /// Who did it.
        by: UserRef<'a>,
    },
    /// A kind that this version does not know, or a known one of a shape that it can't read. It has its number all the same.
    #[serde(skip)]
    Unknown {
        /// The frame's `type`.
        kind: Cow<'a, str>,
        /// Its other fields but `roomId`, `seq` and `createdAt`.
        body: Map<String, Value>,
    },
}

/// The message that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AboutMessage<'a> {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub message_id: MessageId,
    /// Its number among the room's events.
    #[schema(value_type = u64)]
    pub message_seq: Seq,
    /// The message in its present state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message<'a>>,
    /// In place of `message`: the page that this stands in shows a later state of it.
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
            Self::Unknown { kind, .. } => kind,
        }
    }
}

impl<'a> EventFrame<'a> {
    /// The message, if the event is that it was posted.
    pub fn message(&self) -> Option<&Message<'a>> {
        if let EventKind::NewMessage { message } = &self.kind { Some(message) } else { None }
    }

    /// A state of a message that the event brings, and the number of that state: of two states the higher one is newer.
    pub fn state(&self) -> Option<(Seq, &Message<'a>)> {
        match &self.kind {
            EventKind::NewMessage { message } => Some((message.change_seq.unwrap_or(message.seq), message)),
            EventKind::MessageEdited { about, .. } => about.message.as_ref().map(|message| (self.seq, message)),
            EventKind::MemberJoined { .. } | EventKind::MemberLeft { .. } | EventKind::Unknown { .. } => None,
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
        frame.serialize_entry("messageId", &self.message_id)?;
        frame.serialize_entry("messageSeq", &self.message_seq)?;
        if let Some(message) = &self.message {
            frame.serialize_entry("message", message)?;
        }
        if self.superseded {
            frame.serialize_entry("superseded", &true)?;
        }
        Ok(())
    }
}

/// By hand, for the order of the fields: what is of every event comes first, so that a reader can stop there.
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
            EventKind::MessageEdited { about, by } => {
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

/// A known kind, if the fields are those of one.
fn read<'a>(kind: String, body: Map<String, Value>) -> EventKind<'a> {
    let tag = Value::from(kind.as_str());
    let fields = iter::once(("type", &tag)).chain(body.iter().map(|(name, value)| (name.as_str(), value)));
    EventKind::deserialize(MapDeserializer::<_, serde_json::Error>::new(fields))
        .unwrap_or(EventKind::Unknown { kind: Cow::Owned(kind), body })
}
