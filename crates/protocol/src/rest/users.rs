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
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Its name.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
    /// ADMIN, MODERATOR or MEMBER.
    #[schema(value_type = String, example = "MEMBER")]
    pub role: Open<Role>,
    /// Whether its tokens are refused.
    #[serde(default)]
    pub disabled: bool,
    /// The application's own id for it. Shown to CLIENT tokens and ADMINs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "42")]
    pub external_id: Option<Cow<'a, str>>,
    /// When it was made.
    #[schema(value_type = String, format = "date-time")]
    pub created_at: Timestamp,
    /// When its name, role or state changed last.
    #[schema(value_type = String, format = "date-time")]
    pub updated_at: Timestamp,
}

/// A user as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserRef<'a> {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Its present name.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
}

impl UserRef<'_> {
    /// Keeps the text beyond what it was borrowed from.
    pub fn into_owned(self) -> UserRef<'static> {
        UserRef { id: self.id, username: Cow::Owned(self.username.into_owned()) }
    }
}

/// `POST /api/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreateUser {
    /// 1 to 64 characters; must be free.
    #[schema(example = "ada")]
    pub username: String,
    /// ADMIN, MODERATOR or MEMBER (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MEMBER")]
    pub role: Option<Role>,
}

/// Who a caller is, or a user just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile<'a> {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: UserId,
    /// Its name.
    #[schema(value_type = String, example = "ada")]
    pub username: Cow<'a, str>,
    /// ADMIN, MODERATOR or MEMBER.
    #[schema(value_type = String, example = "MEMBER")]
    pub role: Open<Role>,
}

/// The answer to `POST /api/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedUser {
    /// The user.
    pub user: Profile<'static>,
    /// Its first USER token. Shown once; the server does not keep it.
    pub token: String,
    /// That token's id.
    #[schema(value_type = String, format = "uuid")]
    pub token_id: TokenId,
    /// When that token ends.
    #[schema(value_type = String, format = "date-time")]
    pub expires_at: Timestamp,
}

/// `PATCH /api/users/{id}`. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeUser {
    /// ADMIN, MODERATOR or MEMBER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MODERATOR")]
    pub role: Option<Role>,
    /// A disabled user's tokens are refused and its sockets closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// 1 to 64 characters; must be free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub username: Option<String>,
}

/// `PUT /api/users/external/{externalId}`. What is absent stays as it is; one of the fields is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutExternalUser {
    /// 1 to 64 characters; must be free. Needed to make the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "ada")]
    pub username: Option<String>,
    /// ADMIN, MODERATOR or MEMBER, which is the default of a user that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "MEMBER")]
    pub role: Option<Role>,
    /// A USER token to mint for the user, anew with each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<WantedToken>,
}

/// A USER token to mint with a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedToken {
    /// How long it lives, such as `7d`, `12h`, `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "7d")]
    pub expires_in: Option<String>,
    /// What it allows at most; absent altogether: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}

/// The answer to `PUT /api/users/external/{externalId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalUser {
    /// The user as it is now.
    pub user: User<'static>,
    /// The token, if one was asked for. Shown once; the server does not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// That token's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub token_id: Option<TokenId>,
    /// When that token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date-time")]
    pub expires_at: Option<Timestamp>,
}

/// `PUT /api/auth/profile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeProfile {
    /// 1 to 64 characters; must be free.
    #[schema(example = "ada")]
    pub username: String,
}

/// The answer to `PUT /api/auth/profile`, and, without `message`, to `GET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileChanged<'a> {
    /// Says what was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "Profile updated successfully")]
    pub message: Option<Cow<'a, str>>,
    /// The caller.
    pub user: Profile<'a>,
}

/// An answer that says only that it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done<'a> {
    /// Says what was done.
    #[schema(value_type = String, example = "User added to room successfully")]
    pub message: Cow<'a, str>,
}
