use std::borrow::Cow;

use chatsphere_types::{MessageId, RoomId, Seq, Timestamp, UserId, Version};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::UserRef;

/// A message, in its present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// Its room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// Its author.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// Its number among the room's events.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// What it says.
    #[schema(value_type = String, example = "hello")]
    pub content: Cow<'a, str>,
    /// When it was accepted.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When it changed last.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
    /// The sender's own id for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_message_id: Option<Cow<'a, str>>,
    /// Which version of its content this is. Absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub version: Option<Version>,
    /// The number of the event that last changed anything of it. Absent means `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub change_seq: Option<Seq>,
    /// When its content changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub edited_at: Option<Timestamp>,
    /// Who changed it last, where that is not its author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub edited_by: Option<UserId>,
    /// Its author, under the present name.
    pub user: UserRef<'a>,
}

/// A message as it was in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageVersion<'a> {
    /// Which: 1 as it was posted.
    #[schema(value_type = u32)]
    pub version: Version,
    /// What it said. Absent once that was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub content: Option<Cow<'a, str>>,
    /// When that was written.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// Who wrote it.
    pub by: UserRef<'a>,
}

/// `PATCH /api/rooms/{roomId}/messages/{messageId}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditMessage {
    /// What it says from now on: 1 byte to 32 KiB of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "hello, world")]
    pub content: Option<String>,
    /// The version that the change was made for: if there is a later one, the call is refused with `version_conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub if_version: Option<Version>,
}

/// The room of a message, in lists across rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomRef<'a> {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RoomId,
    /// Its name.
    #[schema(value_type = String, example = "lobby")]
    pub name: Cow<'a, str>,
    /// When it was made.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When its name changed last.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
}

/// A message with its room, in lists across rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageInRoom<'a> {
    /// The message.
    #[serde(flatten)]
    pub message: Message<'a>,
    /// Its room.
    pub room: RoomRef<'a>,
}

/// `POST /api/rooms/{roomId}/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostMessage {
    /// 1 byte to 32 KiB of UTF-8.
    #[schema(example = "hello")]
    pub content: String,
    /// The sender's own id, 1 to 64 bytes: sending the same again stores nothing and answers what the first answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// The author; the caller if absent. Only a CLIENT token may name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub user_id: Option<String>,
}

/// `POST /api/rooms/{roomId}/typing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Typing {
    /// The message in whose thread it types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid")]
    pub parent_id: Option<String>,
    /// `false`: it has stopped. Absent means `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
}
