//! The authenticated caller, as resolved from a token by the [`crate::Authority`].

use std::sync::Arc;

use crate::error::TokenRefusal;
use crate::ids::{TokenId, UserId};
use crate::model::{Role, User, UserRef};
use crate::store::Actor;
use crate::time::Timestamp;
use crate::token::{Permissions, TokenType, TokenWithUser};

/// An authenticated caller. It is built from the store's rows; claims in the token about rights are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token of the call.
    pub token_id: TokenId,
    /// The type of the token.
    pub token_type: TokenType,
    /// The user of the token.
    pub user: UserRef,
    /// The user's current role.
    pub role: Role,
    /// The permissions of the token.
    pub permissions: Permissions,
    /// When the token expires.
    pub expires_at: Timestamp,
    /// Whether this is the server itself or its operator, who has no token.
    pub operator: bool,
    /// Whether the token is a CLIENT token that acts as `user`, with that user's rights and limits.
    pub acting: bool,
}

impl Caller {
    /// Makes the operator, who runs the command line on the server's own database. It has the rights of a CLIENT token.
    pub fn operator(user: UserRef, now: Timestamp) -> Self {
        Self {
            token_id: TokenId::new(now),
            token_type: TokenType::Client,
            user,
            role: Role::Admin,
            permissions: Permissions::ALL,
            expires_at: Timestamp::from_millis(i64::MAX),
            operator: true,
            acting: false,
        }
    }

    /// Returns the actor of the caller's writes.
    pub fn actor(&self) -> Actor {
        match (self.operator, self.acting) {
            (true, _) => Actor::Operator,
            (false, true) => Actor::As { token: self.token_id, user: self.user.id },
            (false, false) => Actor::Token(self.token_id),
        }
    }

    /// Whether the caller has a CLIENT token or is an ADMIN. It may then see and do everything that the token's permissions
    /// allow.
    pub fn is_privileged(&self) -> bool {
        self.token_type == TokenType::Client || self.role == Role::Admin
    }

    /// Whether the caller may act on behalf of another user.
    pub fn may_name_others(&self) -> bool {
        self.token_type == TokenType::Client
    }

    /// Whether the caller is this user and acts for itself.
    pub fn is(&self, user: UserId) -> bool {
        self.user.id == user
    }
}

impl From<&TokenWithUser> for Caller {
    fn from(row: &TokenWithUser) -> Self {
        Self {
            token_id: row.token.id,
            token_type: row.token.token_type,
            user: UserRef::from(&row.user),
            role: row.user.role,
            permissions: row.token.permissions.clone(),
            expires_at: row.token.expires_at,
            operator: false,
            acting: false,
        }
    }
}

/// The state of a token by its row and its user's row: its caller, or the reason why it is refused.
#[derive(Debug, Clone)]
pub struct TokenState {
    caller: Arc<Caller>,
    refusal: Option<TokenRefusal>,
}

impl From<&TokenWithUser> for TokenState {
    fn from(row: &TokenWithUser) -> Self {
        let refusal = match (row.token.revoked_at, row.user.disabled) {
            (Some(_), _) => Some(TokenRefusal::Revoked),
            (None, true) => Some(TokenRefusal::UserDisabled),
            (None, false) => None,
        };
        Self { caller: Arc::new(Caller::from(row)), refusal }
    }
}

impl TokenState {
    /// Returns the user of the token, also if the token is refused.
    pub fn user_id(&self) -> UserId {
        self.caller.user.id
    }

    /// Returns the same token with the user's current row.
    #[must_use]
    pub fn with_user(&self, row: &User) -> Self {
        let caller = Caller { user: UserRef::from(row), role: row.role, ..(*self.caller).clone() };
        let refusal = match self.refusal {
            Some(TokenRefusal::Revoked) => Some(TokenRefusal::Revoked),
            _ if row.disabled => Some(TokenRefusal::UserDisabled),
            _ => None,
        };
        Self { caller: Arc::new(caller), refusal }
    }

    /// Returns the type of the token.
    pub fn token_type(&self) -> TokenType {
        self.caller.token_type
    }

    /// Returns the memory that it takes, in units of about 200 bytes.
    pub fn weight(&self) -> usize {
        1 + self.caller.permissions.rooms.as_ref().map_or(0, Vec::len) / 8
    }

    /// Returns the caller, if the token is valid at `now`.
    ///
    /// # Errors
    /// [`TokenRefusal::Revoked`], [`TokenRefusal::UserDisabled`], [`TokenRefusal::Expired`].
    pub fn judge(&self, now: Timestamp) -> Result<&Arc<Caller>, TokenRefusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.caller.expires_at <= now => Err(TokenRefusal::Expired),
            None => Ok(&self.caller),
        }
    }
}
