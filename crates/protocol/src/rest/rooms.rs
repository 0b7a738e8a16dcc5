use chatsphere_types::{RoomId, Seq, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::UserRef;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: RoomId,
    /// Its name.
    #[schema(example = "lobby")]
    pub name: String,
    /// When it was made.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When its name changed last.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
    /// The number of its newest event; 0 before the first.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// How much is in it. Kept in the commit of each change, never counted on read.
    #[serde(rename = "_count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
}

/// How much is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// Messages.
    pub messages: u64,
    /// Members.
    pub users: u64,
}

/// `POST /api/rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateRoom {
    /// 1 to 128 characters; need not be unique.
    #[schema(example = "lobby")]
    pub name: String,
    /// Its owner and first member; the caller if absent. Only a CLIENT token may name another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub user_id: Option<String>,
}

/// A room with its first 100 members, in the order they joined. All of them: `GET /api/rooms/{id}/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomWithUsers {
    /// The room.
    #[serde(flatten)]
    pub room: Room,
    /// Its first 100 members.
    pub users: Vec<UserRef<'static>>,
}

/// `POST /api/rooms/{roomId}/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddUser {
    /// Whom to add.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
}
