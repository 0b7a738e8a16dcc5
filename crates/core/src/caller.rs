//! Who calls, as resolved from a token by the [`crate::Authority`].

use crate::ids::{TokenId, UserId};
use crate::model::{Role, UserRef};
use crate::time::Timestamp;
use crate::token::{Permissions, TokenType, TokenWithUser};

/// An authenticated caller. Made from the store's rows alone; what a token claims about itself is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token that was shown.
    pub token_id: TokenId,
    /// Who holds it.
    pub token_type: TokenType,
    /// Whom it stands for.
    pub user: UserRef,
    /// That user's present role.
    pub role: Role,
    /// What the token allows at most.
    pub permissions: Permissions,
    /// When the token ends.
    pub expires_at: Timestamp,
}

impl Caller {
    /// Whoever can run the command line on the server's own database: may do what a CLIENT token may.
    pub fn operator(user: UserRef, now: Timestamp) -> Self {
        Self {
            token_id: TokenId::new(now),
            token_type: TokenType::Client,
            user,
            role: Role::Admin,
            permissions: Permissions::ALL,
            expires_at: Timestamp::from_millis(i64::MAX),
        }
    }

    /// Whether it may see and do everything: a CLIENT token or an ADMIN's, within the token's permissions.
    pub fn is_privileged(&self) -> bool {
        self.token_type == TokenType::Client || self.role == Role::Admin
    }

    /// Whether it may act in another user's name.
    pub fn may_name_others(&self) -> bool {
        self.token_type == TokenType::Client
    }

    /// Whether it calls for itself as this user.
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
        }
    }
}
