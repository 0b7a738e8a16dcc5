use chatsphere_types::{RoomId, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::UserRef;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RoomId,
    /// The name.
    #[schema(example = "lobby")]
    pub name: String,
    /// When the room was created.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When the name last changed. Messages do not change it.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
    /// The number of the room's newest event; 0 before the first.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// The numbers of messages and members, as of the last commit.
    #[serde(rename = "_count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// The numbers of a room's messages and members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// The number of messages.
    pub messages: u64,
    /// The number of members.
    pub users: u64,
}

/// The body of `POST /api/rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateRoom {
    /// The name: 1 to 128 characters. Several rooms may have the same.
    #[schema(example = "lobby")]
    pub name: String,
    /// The owner and first member; the caller if absent. Only a CLIENT token may name another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub user_id: Option<String>,
}

/// A room with its first 100 members, in the order in which they joined. `GET /api/rooms/{id}/users` lists all members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomWithUsers {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// The first 100 members.
    pub users: Vec<UserRef<'static>>,
}

/// The body of `POST /api/rooms/{roomId}/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddUser {
    /// The user to add.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
}
