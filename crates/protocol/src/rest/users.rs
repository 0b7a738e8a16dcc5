use std::borrow::Cow;

use chatsphere_types::{Role, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Permissions;
use crate::Open;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User<'a> {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// The username.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
    /// The role: ADMIN, MODERATOR or MEMBER.
    #[schema(value_type = String, example = "MEMBER")]
    pub role: Open<Role>,
    /// Whether the user is disabled. The server then rejects the user's tokens.
    #[serde(default)]
    pub disabled: bool,
    /// The application's own id of the user. Only CLIENT tokens and unrestricted ADMIN tokens see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "42")]
    pub external_id: Option<Cow<'a, str>>,
    /// When the user was created.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When the name, role or state last changed.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
}

/// The part of a user that other users see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserRef<'a> {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// The current username.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
}

impl UserRef<'_> {
    /// Copies the borrowed text.
    pub fn into_owned(self) -> UserRef<'static> {
        UserRef { id: self.id, username: Cow::Owned(self.username.into_owned()) }
    }
}

/// The body of `POST /api/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateUser {
    /// The username: 1 to 64 characters. No other user may have it.
    #[schema(example = "ada")]
    pub username: String,
    /// The role: ADMIN, MODERATOR or MEMBER (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MEMBER")]
    pub role: Option<Role>,
}

/// The caller's user, or a new user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile<'a> {
    /// The id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// The username.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
    /// The role: ADMIN, MODERATOR or MEMBER.
    #[schema(value_type = String, example = "MEMBER")]
    pub role: Open<Role>,
}

/// The answer to `POST /api/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedUser {
    /// The user.
    pub user: Profile<'static>,
    /// The user's first USER token. Only this answer contains it; the server does not store it.
    pub token: String,
    /// The id of that token.
    #[schema(value_type = String, format = "uuid")]
    pub token_id: TokenId,
    /// When that token expires.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
}

/// The body of `PATCH /api/users/{id}`. Absent fields stay as they are; at least one is required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeUser {
    /// The role: ADMIN, MODERATOR or MEMBER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MODERATOR")]
    pub role: Option<Role>,
    /// Whether to disable or enable the user. The server rejects a disabled user's tokens and closes its sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The username: 1 to 64 characters. No other user may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub username: Option<String>,
}

/// The body of `PUT /api/users/external/{externalId}`. Absent fields stay as they are; at least one is required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutExternalUser {
    /// The username: 1 to 64 characters. No other user may have it. Required to create the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub username: Option<String>,
    /// The role: ADMIN, MODERATOR or MEMBER. A new user is a MEMBER by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MEMBER")]
    pub role: Option<Role>,
    /// A USER token to mint for the user. Each call mints a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<WantedToken>,
}

/// A USER token to mint for a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedToken {
    /// The lifetime, such as `7d`, `12h`, `90s`; a default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub expires_in: Option<String>,
    /// The permissions; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}

/// The answer to `PUT /api/users/external/{externalId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalUser {
    /// The user after the call.
    pub user: User<'static>,
    /// The token, if the call requested one. Only this answer contains it; the server does not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The id of that token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub token_id: Option<TokenId>,
    /// When that token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub expires_at: Option<Timestamp>,
}

/// The body of `PUT /api/auth/profile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeProfile {
    /// The username: 1 to 64 characters. No other user may have it.
    #[schema(example = "ada")]
    pub username: String,
}

/// The answer to `PUT /api/auth/profile`, and, without `message`, to `GET /api/auth/profile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileChanged<'a> {
    /// What was done, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "Profile updated successfully")]
    pub message: Option<Cow<'a, str>>,
    /// The caller's user.
    pub user: Profile<'a>,
}

/// An answer without data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done<'a> {
    /// What was done, for people.
    #[schema(value_type = String, example = "User added to room successfully")]
    pub message: Cow<'a, str>,
}
