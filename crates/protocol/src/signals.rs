//! Signals on the wire: the ephemeral frames that the server sends, and the bodies of the REST calls that cause them.

use std::borrow::Cow;

use chatsphere_types::{MessageId, RoomId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json::{self, RawJson};
use crate::rest::UserRef;

/// An ephemeral frame. It has no number, moves no cursor, and is dropped first for a client that reads slowly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SignalFrame<'a> {
    /// A user is typing in a room.
    #[serde(rename_all = "camelCase")]
    Typing {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The user.
        user: UserRef<'a>,
        /// The message in whose thread the user types.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = "uuid")]
        parent_id: Option<MessageId>,
        /// For how long to show it, in milliseconds, unless a message of this user arrives before. 0 ends it.
        expires_in_ms: u64,
    },
    /// How many users are typing, in a room with too many connections to name them. It is sent once a second while anybody
    /// types, and once with 0.
    #[serde(rename_all = "camelCase")]
    TypingCount {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The number of users.
        count: usize,
    },
    /// A signal that the application defines.
    #[serde(rename_all = "camelCase")]
    Signal {
        /// The room.
        #[schema(value_type = String, format = "uuid")]
        room_id: RoomId,
        /// The user who sent it.
        user: UserRef<'a>,
        /// What it is.
        name: Cow<'a, str>,
        /// Its content, as it was sent.
        #[serde(deserialize_with = "json::buffered")]
        #[schema(value_type = Value)]
        data: RawJson<'a>,
    },
}

/// The body of `POST /api/rooms/{roomId}/typing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// The message in whose thread the user types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub parent_id: Option<String>,
    /// Whether the user is typing (the default) or has stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
}

/// The body of `POST /api/rooms/{roomId}/signals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SendSignal {
    /// What it is: 1 to 32 characters.
    #[schema(example = "cursor")]
    pub name: String,
    /// Its content: any JSON of up to 1 KiB and 16 levels. It is passed on as it is written.
    #[schema(value_type = Value, example = json!({ "x": 0.25, "y": 0.5 }))]
    pub data: RawJson<'static>,
}
