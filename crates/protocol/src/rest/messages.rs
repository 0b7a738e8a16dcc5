use std::borrow::Cow;

use chatsphere_types::{MessageId, RoomId, Seq, Timestamp, UserId, Version};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::UserRef;

/// A message in its current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// The room.
    #[schema(value_type = String, format = "uuid")]
    pub room_id: RoomId,
    /// The author's id.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// The number of the event that posted the message.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The content.
    #[schema(value_type = String, example = "hello")]
    pub content: Cow<'a, str>,
    /// When the server accepted the message.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When the message last changed; `createdAt` if it never changed.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
    /// The sender's own id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_message_id: Option<Cow<'a, str>>,
    /// The version of the content. Absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub version: Option<Version>,
    /// The number of the event that last changed the message. Absent means `seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub change_seq: Option<Seq>,
    /// When the content was last edited. Absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub edited_at: Option<Timestamp>,
    /// The user who last edited the content, if that is not the author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub edited_by: Option<UserId>,
    /// When the message was deleted. Its `content` is then empty. Absent if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub deleted_at: Option<Timestamp>,
    /// The user who deleted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deleted_by: Option<UserId>,
    /// When the message was pinned. Absent if it is not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub pinned_at: Option<Timestamp>,
    /// The user who pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub pinned_by: Option<UserId>,
    /// The author, with the current username.
    pub user: UserRef<'a>,
}

/// What is left of a message that was deleted for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovedMessage {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// The number of the event that posted the message.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The number of the event that deleted the message.
    #[schema(value_type = u64)]
    pub change_seq: Seq,
    /// When the message was deleted.
    #[schema(value_type = String, format = "date-time")]
    pub deleted_at: Timestamp,
}

/// What is left of a deleted message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeletedMessage<'a> {
    /// The message keeps its place, with an empty `content`.
    Tombstone(Box<Message<'a>>),
    /// The message was deleted for good.
    Removed(RemovedMessage),
}

impl<'a> DeletedMessage<'a> {
    /// The message, unless it was deleted for good.
    pub fn tombstone(&self) -> Option<&Message<'a>> {
        if let Self::Tombstone(message) = self { Some(message) } else { None }
    }
}

/// Written by hand as `anyOf`: a tombstone also has all fields of a message that was deleted for good.
impl PartialSchema for DeletedMessage<'_> {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(Ref::from_schema_name(Message::name()))
            .item(Ref::from_schema_name(RemovedMessage::name()))
            .description(Some(
                "What is left of a deleted message: all but its contents or, if it was deleted for good, its place.",
            ))
            .into()
    }
}

impl ToSchema for DeletedMessage<'_> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("DeletedMessage")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Message::name().into_owned(), Message::schema()));
        schemas.push((RemovedMessage::name().into_owned(), RemovedMessage::schema()));
        Message::schemas(schemas);
    }
}

/// A version of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageVersion<'a> {
    /// The number of the version; 1 is the message as it was posted.
    #[schema(value_type = u32)]
    pub version: Version,
    /// The content of this version. Absent once it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub content: Option<Cow<'a, str>>,
    /// When the server accepted this version.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// The user who wrote this version.
    pub by: UserRef<'a>,
}

/// The body of `PATCH /api/rooms/{roomId}/messages/{messageId}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditMessage {
    /// The new content: 1 byte to 32 KiB of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "hello, world")]
    pub content: Option<String>,
    /// The version on which this edit is based. If the message has a later version, the call fails with `version_conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub if_version: Option<Version>,
}

/// The room of a message, in lists of messages of all rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomRef<'a> {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RoomId,
    /// The room's name.
    #[schema(value_type = String, example = "lobby")]
    pub name: Cow<'a, str>,
    /// When the room was created.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When the room's name last changed.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
}

/// A message with its room, in lists of messages of all rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MessageInRoom<'a> {
    /// The message.
    #[serde(flatten)]
    pub message: Message<'a>,
    /// The room.
    pub room: RoomRef<'a>,
}

/// The body of `POST /api/rooms/{roomId}/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostMessage {
    /// The content: 1 byte to 32 KiB of UTF-8.
    #[schema(example = "hello")]
    pub content: String,
    /// The sender's own id of the message, 1 to 64 bytes. A retry with the same id and content stores nothing and returns the
    /// message of the first call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    /// The author; the caller if absent. Only a CLIENT token may name another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub user_id: Option<String>,
}
