//! The frames that the server sends.

use std::borrow::Cow;

use chatsphere_types::{ConnectionId, MessageId, RoomId, Seq, Timestamp, UserId, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EventFrame, SignalFrame};
use crate::rest::Message;

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
// utoipa ignores `rename_all_fields`, so each variant has `rename_all`.
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "nearly all are events, which then need no allocation of their own")]
pub enum ServerFrame<'a> {
    /// The first frame, once the connection is authenticated.
    Hello(Hello),
    /// The answer to `auth`: the connection now uses this token.
    #[serde(rename_all = "camelCase")]
    AuthOk {
        /// The connection's user.
        #[schema(value_type = String, format = "uuid")]
        user_id: UserId,
        /// When the connection will be closed with 4001, unless the client sends `auth` with a newer token before.
        #[schema(value_type = String, format = "date-time")]
        expires_at: Timestamp,
        /// The `ref` of the frame that this answers.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// The answer to `join`. `previous_messages` frames follow.
    #[serde(rename_all = "camelCase")]
    JoinConfirmation {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The room's newest event. The replay ends with it, and live events begin after it.
        #[schema(value_type = u64)]
        seq: Seq,
        /// The current epoch of the server's data. Send it back with `since`.
        epoch: Cow<'a, str>,
        /// Whether all events after `since` follow.
        recovered: bool,
        /// Why not, if the client sent `since`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<NotRecovered>,
        /// The `ref` of the frame that this answers.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// A page of the room's earlier messages and events.
    PreviousMessages(PreviousMessages<'a>),
    /// The answer to `leave`.
    #[serde(rename_all = "camelCase")]
    LeaveConfirmation {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The `ref` of the frame that this answers.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// The answer to `message` and `edit`.
    Ack(Ack<'a>),
    /// The server ended the connection's subscription to the room.
    #[serde(rename_all = "camelCase")]
    Left {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// Why: `removed` (the user is no longer a member) or `rights_changed`.
        reason: Cow<'a, str>,
    },
    /// The answer to `ping`.
    #[serde(rename_all = "camelCase")]
    Pong {
        /// The `ref` of the frame that this answers.
        #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
        reference: Option<Cow<'a, str>>,
    },
    /// A frame failed. The connection stays open unless a close follows.
    Error(ErrorFrame<'a>),
    /// The last frame before a close, if the client should wait before it reconnects.
    #[serde(rename_all = "camelCase")]
    Closing {
        /// The code of the close that follows.
        code: u16,
        /// How long to wait before reconnecting, in milliseconds. The server already spreads this delay, so that clients do not
        /// all reconnect at once.
        retry_after_ms: u64,
    },
    /// An ephemeral frame.
    #[serde(untagged)]
    Signal(SignalFrame<'a>),
    /// A durable event of a room.
    #[serde(untagged)]
    Event(EventFrame<'a>),
}

/// The connection's user, token lifetime and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The connection's user.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// The id of this connection in the server's log.
    #[schema(value_type = String, format = "uuid")]
    pub connection_id: ConnectionId,
    /// The interval of the server's pings in milliseconds, before jitter.
    pub heartbeat_ms: u64,
    /// The version of this protocol.
    pub protocol: u32,
    /// When the connection will be closed with 4001, unless the client sends `auth` with a newer token before.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
    /// The limits that apply to this connection.
    pub limits: HelloLimits,
}

/// The limits that apply to a WebSocket client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelloLimits {
    /// Longest message content, in bytes of UTF-8.
    pub message_bytes: usize,
    /// Versions of a message that are kept; 0 if the server does not say.
    #[serde(default)]
    pub message_versions: u32,
    /// Longest username, in characters.
    pub username_chars: usize,
    /// Longest room name, in characters.
    pub room_name_chars: usize,
    /// Longest `ref`, in bytes.
    pub ref_bytes: usize,
    /// Longest `clientMessageId`, in bytes.
    pub client_message_id_bytes: usize,
    /// Largest frame and message that the server accepts, in bytes.
    pub frame_bytes: usize,
    /// Rooms that the connection may join.
    pub rooms_per_connection: usize,
    /// Connections that the user may have on one node.
    pub connections_per_user: usize,
    /// Unsent bytes after which a slow connection is closed with 4008.
    pub outbound_queue_bytes: usize,
    /// Messages that the user may send in a second, sustained; 0 is no limit.
    pub messages_per_second: u32,
    /// Messages that the user may send at once after a pause.
    pub message_burst: u32,
    /// Unanswered messages after which the server stops reading from the connection. A connection that keeps sending is
    /// throttled for a second.
    pub unanswered_sends: usize,
    /// Most events that a `join` with `since` replays.
    pub replay_events: u64,
    /// Largest frame that the server sends, in bytes; 0 if it does not say.
    #[serde(default)]
    pub largest_frame_bytes: usize,
    /// Frames that the server reads in a second, sustained; faster ones wait in the network. 0 is no limit.
    #[serde(default)]
    pub frames_per_second: u32,
    /// Frames that the server reads at once after a pause.
    #[serde(default)]
    pub frame_burst: u32,
    /// Messages that may be pinned in a room at a time; 0 if the server does not say.
    #[serde(default)]
    pub pins_per_room: u64,
}

/// Why a `join` with `since` could not resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotRecovered {
    /// The `epoch` has changed: the server's data was restored from a backup.
    EpochChanged,
    /// `since` is above the room's newest event.
    SinceAhead,
    /// The client lacks more events than a join replays. `GET /api/rooms/{id}/events?after=` has them.
    TooManyEvents,
}

/// A page of the room's earlier messages and events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousMessages<'a> {
    /// The room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// Messages in their current state, ascending by `seq`.
    pub messages: Vec<Message<'a>>,
    /// Other durable events, ascending by `seq`, each in the format of its frame.
    pub events: Vec<EventFrame<'a>>,
    /// The first number of the range that this page covers: it contains every event of the range.
    #[schema(value_type = u64)]
    pub from_seq: Seq,
    /// The last number of that range. The client's cursor becomes `toSeq`.
    #[schema(value_type = u64)]
    pub to_seq: Seq,
    /// Whether another page follows.
    pub more: bool,
    /// The `ref` of the frame that this answers.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// A message, or a change of a message, was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ack<'a> {
    /// The room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// The sender's own id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
    /// The message's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// The number of the event that was stored; if the change had no effect, the number of the room's newest event.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// For an edit: the message's version now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub version: Option<Version>,
    /// For an edit: the number of the event that last changed the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub change_seq: Option<Seq>,
    /// When the server accepted that event.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// The `ref` of the frame that this answers.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Cow<'a, str>>,
}

/// An error, usually about a frame of the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorFrame<'a> {
    /// The stable code.
    pub code: Cow<'a, str>,
    /// What went wrong and what to do, for people.
    pub message: Cow<'a, str>,
    /// The room of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<Cow<'a, str>>,
    /// The `clientMessageId` of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<Cow<'a, str>>,
    /// The invalid field of the frame, if the error is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'a, str>>,
    /// Whether the same frame may succeed if it is sent again.
    pub retryable: bool,
    /// How long to wait before a retry, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The `ref` of the frame that this answers.
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
