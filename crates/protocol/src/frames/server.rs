//! What the server sends.

use std::borrow::Cow;

use chatsphere_types::{ConnectionId, MessageId, RoomId, Seq, Timestamp, UserId, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::EventFrame;
use crate::rest::{Message, UserRef};

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
// The schema does not heed `rename_all_fields`.
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The first frame, once the connection is authenticated.
    Hello(Hello),
    /// `auth` was accepted.
    #[serde(rename_all = "camelCase")]
    AuthOk {
        /// Whom the connection stands for.
        #[schema(value_type = String, format = "uuid")]
        user_id: UserId,
        /// When it will be closed with 4001, unless a newer token comes.
        #[schema(value_type = String, format = "date-time")]
        expires_at: Timestamp,
        /// The asking frame's.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// `join` was accepted; `previous_messages` follow.
    #[serde(rename_all = "camelCase")]
    JoinConfirmation {
        /// Which room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The room's newest event: what is replayed ends here, what is live begins after it.
        #[schema(value_type = u64)]
        seq: Seq,
        /// This life of the server's data; send it back with `since`.
        epoch: Cow<'a, str>,
        /// Whether everything after `since` follows.
        recovered: bool,
        /// Why not, if `since` was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<NotRecovered>,
        /// The asking frame's.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// A page of what was before.
    PreviousMessages(PreviousMessages<'a>),
    /// `leave` was accepted.
    #[serde(rename_all = "camelCase")]
    LeaveConfirmation {
        /// Which room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The asking frame's.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// A message was stored.
    Ack(Ack<'a>),
    /// The connection no longer listens to the room.
    #[serde(rename_all = "camelCase")]
    Left {
        /// Which room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// Why: `removed` from the room, or `rights_changed`.
        reason: Cow<'a, str>,
    },
    /// Somebody types in a room. Ephemeral: it has no number, and may be dropped for a client that reads slowly.
    #[serde(rename_all = "camelCase")]
    Typing {
        /// Which room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// Who.
        user: UserRef<'a>,
        /// In the thread of this message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = "uuid")]
        parent_id: Option<MessageId>,
        /// For how long to show it, unless a message of this user comes before. 0 ends it.
        expires_in_ms: u64,
    },
    /// How many type in a room with so many connections that it is not told who. Ephemeral; comes once a second while anybody
    /// types, and once with 0.
    #[serde(rename_all = "camelCase")]
    TypingCount {
        /// Which room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// How many.
        count: usize,
    },
    /// The answer to `ping`.
    #[serde(rename_all = "camelCase")]
    Pong {
        /// The asking frame's.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// Something went wrong; the connection stays up unless a close code follows.
    Error(ErrorFrame<'a>),
    /// The last frame before a close after which waiting helps.
    #[serde(rename_all = "camelCase")]
    Closing {
        /// The code of the close that follows.
        code: u16,
        /// How long to wait before connecting again, in milliseconds. Spread already, so that not all come back at once.
        retry_after_ms: u64,
    },
    /// A durable event of a room.
    #[serde(untagged)]
    Event(EventFrame<'a>),
}

/// Says who one is, and the rules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// Whom the connection stands for.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// Names this connection in the server's log.
    #[schema(value_type = String, format = "uuid")]
    pub connection_id: ConnectionId,
    /// The server pings this often, about.
    pub heartbeat_ms: u64,
    /// The version of this protocol.
    pub protocol: u32,
    /// When the connection will be closed with 4001, unless a newer token comes by `auth`.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
    /// What one may send and hold.
    pub limits: HelloLimits,
}

/// The limits that a WebSocket client meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloLimits {
    /// Bytes of a message's content.
    pub message_bytes: usize,
    /// Characters of a username.
    pub username_chars: usize,
    /// Characters of a room's name.
    pub room_name_chars: usize,
    /// Bytes of a `ref`.
    pub ref_bytes: usize,
    /// Bytes of a `clientMessageId`.
    pub client_message_id_bytes: usize,
    /// Bytes of a frame.
    pub frame_bytes: usize,
    /// Rooms that this connection may join.
    pub rooms_per_connection: usize,
    /// Connections that this user may hold.
    pub connections_per_user: usize,
    /// Bytes that may wait for this connection before it is closed with 4008.
    pub outbound_queue_bytes: usize,
    /// Messages a second, sustained; 0 is no limit.
    pub messages_per_second: u32,
    /// Messages at once after a rest.
    pub message_burst: u32,
    /// Sends that may wait for their answer before the server stops reading. Who sends more all the same is held to half for a
    /// second.
    pub unanswered_sends: usize,
    /// Most events that `join` with `since` replays.
    pub replay_events: u64,
    /// Bytes of the largest frame that the server sends.
    #[serde(default)]
    pub largest_frame_bytes: usize,
    /// Frames a second that the server reads, sustained; it reads what comes faster later. 0 is no limit.
    #[serde(default)]
    pub frames_per_second: u32,
    /// Frames that it reads at once after a rest.
    #[serde(default)]
    pub frame_burst: u32,
}

/// Why a `join` with `since` could not go on from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotRecovered {
    /// The `epoch` is another: the server's data was restored from a backup.
    EpochChanged,
    /// `since` is above the room's newest event.
    SinceAhead,
    /// More events were missed than a join replays; `GET /api/rooms/{id}/events?after=` has them.
    TooManyEvents,
}

/// A page of what was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousMessages<'a> {
    /// Which room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// Messages in their present state, ascending by `seq`.
    pub messages: Vec<Message<'a>>,
    /// Other durable events, ascending by `seq`, each in the shape of its frame.
    pub events: Vec<EventFrame<'a>>,
    /// Every event from here …
    #[schema(value_type = u64)]
    pub from_seq: Seq,
    /// … to here is in this page. The client's cursor is `toSeq`.
    #[schema(value_type = u64)]
    pub to_seq: Seq,
    /// Whether another page follows.
    pub more: bool,
    /// The asking frame's.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// A message was stored, or a change of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ack<'a> {
    /// Which room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// The sender's own id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
    /// The message's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// The number of the event; where there was nothing to change, of the room's newest event.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// Of a change: which version the message is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub version: Option<Version>,
    /// Of a change: the number of the event that last changed anything of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub change_seq: Option<Seq>,
    /// When that event was accepted.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// The asking frame's.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// Something went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorFrame<'a> {
    /// The stable code.
    pub code: Cow<'a, str>,
    /// What went wrong, and what to do.
    pub message: Cow<'a, str>,
    /// The room it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<Cow<'a, str>>,
    /// The message it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
    /// The field of the asking frame that is wrong, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'a, str>>,
    /// Whether the same frame may succeed later.
    pub retryable: bool,
    /// How long to wait first, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The asking frame's.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_left_out() {
        let frame = ServerFrame::Pong { reference: None };
        assert_eq!(serde_json::to_string(&frame).unwrap(), r#"{"type":"pong"}"#);
        let error = ErrorFrame {
            code: "malformed".into(),
            message: "m".into(),
            room_id: None,
            client_message_id: None,
            field: None,
            retryable: false,
            retry_after_ms: None,
            reference: Some("1".into()),
        };
        let text = serde_json::to_string(&ServerFrame::Error(error)).unwrap();
        assert_eq!(text, r#"{"type":"error","code":"malformed","message":"m","retryable":false,"ref":"1"}"#);
    }
}
