use chatsphere_types::{RoomId, Timestamp, TokenId, TokenType, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Profile, UserRef};
use crate::Open;

/// What a token allows at most. An absent boolean is false; absent `rooms`: every room of the user; `[]`: none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permissions {
    /// Read rooms, history, members; join.
    #[serde(default)]
    pub read: bool,
    /// Post, create, add, rename, mint.
    #[serde(default)]
    pub write: bool,
    /// Remove members, revoke tokens.
    #[serde(default)]
    pub delete: bool,
    /// The rooms that it is good for, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub rooms: Option<Vec<RoomId>>,
}

/// `POST /api/tokens/user`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MintUserToken {
    /// Whom it stands for.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
    /// What it allows at most; absent altogether: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// How long it lives, such as `7d`, `12h`, `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub expires_in: Option<String>,
}

/// `POST /api/tokens/client`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MintClientToken {
    /// The user in whose name the backend acts when it names no other.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: String,
    /// Whose it is. Kept to tell tokens apart; nothing is sent to it.
    #[schema(example = "backend@example.com")]
    pub email: String,
    /// How long it lives, such as `365d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "365d")]
    pub expires_in: Option<String>,
}

/// A token just made. Shown once; the server does not keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Minted {
    /// The token.
    pub token: String,
    /// Its id, by which it can be revoked.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// Whom it stands for.
    pub user: Profile<'static>,
    /// When it ends.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
}

/// What is known of a token; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TokenId,
    /// USER or CLIENT.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "USER")]
    pub token_type: Open<TokenType>,
    /// Whom it stands for.
    #[schema(value_type = String, format = "uuid")]
    pub user_id: UserId,
    /// The same, with the name.
    pub user: UserRef<'static>,
    /// What it allows at most.
    pub permissions: Permissions,
    /// The token that minted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub parent_id: Option<TokenId>,
    /// Whose CLIENT token it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub revoked_at: Option<Timestamp>,
}
