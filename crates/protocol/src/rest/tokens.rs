use chatsphere_types::{RoomId, Timestamp, TokenId, TokenType, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Profile, UserRef};
use crate::Open;

/// The upper bound of a token's rights. An absent boolean means `false`. If `rooms` is absent, the token is valid for all rooms
/// of its user; `[]` means none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// Allows reading rooms, history and members, and joining over WebSocket.
    #[serde(default)]
    pub read: bool,
    /// Allows posting and editing messages, creating rooms, adding members, renaming and minting.
    #[serde(default)]
    pub write: bool,
    /// Allows removing members and revoking tokens.
    #[serde(default)]
    pub delete: bool,
    /// The rooms for which the token is valid, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub rooms: Option<Vec<RoomId>>,
}

/// The body of `POST /api/tokens/user`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MintUserToken {
    /// The token's user.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
    /// The permissions; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// The lifetime, such as `7d`, `12h`, `90s`; a default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub expires_in: Option<String>,
}

/// The body of `POST /api/tokens/client`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MintClientToken {
    /// The user for whom the backend acts in calls that name no other.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
    /// The email address of the token's holder, which distinguishes tokens. The server sends no mail.
    #[schema(example = "backend@example.com")]
    pub email: String,
    /// The lifetime, such as `365d`; a default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "365d")]
    pub expires_in: Option<String>,
}

/// A new token. Only this answer contains it; the server does not store it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Minted {
    /// The token, a JWT.
    pub token: String,
    /// The id of the token, by which it can be revoked.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// The token's user.
    pub user: Profile<'static>,
    /// When the token expires.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
}

/// The data of a token, without the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// The type: USER or CLIENT.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "USER")]
    pub token_type: Open<TokenType>,
    /// The token's user.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// The token's user, with the current username.
    pub user: UserRef<'static>,
    /// The permissions.
    pub permissions: Permissions,
    /// The USER token that minted this one. Its revocation revokes this token too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub parent_id: Option<TokenId>,
    /// The email address of a CLIENT token's holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When the token was minted.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When the token expires.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
    /// When the token was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub revoked_at: Option<Timestamp>,
}
