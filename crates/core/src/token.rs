//! The rows of tokens. The token itself, a signed JWT, is made by the front door and not stored.

use serde::{Deserialize, Serialize};

use crate::ids::{RoomId, TokenId, UserId};
use crate::model::User;
use crate::text::Email;
use crate::time::Timestamp;

pub use chatsphere_types::TokenType;

/// The upper bound of a token's rights. The rights of its user limit it further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The rooms for which the token is valid. `None` means every room of the user, an empty list none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<RoomId>>,
}

impl Permissions {
    /// The permissions of a token without `permissions`: everything that its user may do.
    pub const ALL: Self = Self { read: true, write: true, delete: true, rooms: None };

    /// Whether nothing is restricted.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// Whether the token is valid for this room.
    pub fn covers_room(&self, room: RoomId) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(&room))
    }

    /// Whether `other` allows everything that `self` allows.
    pub fn is_within(&self, other: &Self) -> bool {
        let rooms_within = match (&self.rooms, &other.rooms) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.iter().all(|room| theirs.contains(room)),
        };
        rooms_within && self.read <= other.read && self.write <= other.write && self.delete <= other.delete
    }
}

/// A token's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The `jti` claim.
    pub id: TokenId,
    /// The type.
    pub token_type: TokenType,
    /// The user.
    pub user_id: UserId,
    /// The permissions.
    pub permissions: Permissions,
    /// The token that minted this one, and whose revocation revokes it too. Only USER tokens have one.
    pub parent: Option<TokenId>,
    /// The email address of a CLIENT token's holder.
    pub email: Option<Email>,
    /// The `iat` claim, in whole seconds.
    pub created_at: Timestamp,
    /// The `exp` claim, in whole seconds.
    pub expires_at: Timestamp,
    /// When the token was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWithUser {
    /// The row of the token.
    pub token: Token,
    /// The row of the user.
    pub user: User,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_never_grow() {
        let (a, b) = (RoomId::new(Timestamp::from_millis(1)), RoomId::new(Timestamp::from_millis(2)));
        let read_a = Permissions { read: true, write: false, delete: false, rooms: Some(vec![a]) };
        let read = Permissions { rooms: None, ..read_a.clone() };
        let read_ab = Permissions { rooms: Some(vec![a, b]), ..read_a.clone() };
        assert!(read_a.is_within(&Permissions::ALL) && read_a.is_within(&read) && read_a.is_within(&read_ab));
        assert!(!read.is_within(&read_a) && !read_ab.is_within(&read_a) && !Permissions::ALL.is_within(&read));
        let none = Permissions { rooms: Some(vec![]), ..read_a.clone() };
        assert!(none.is_within(&read_a) && !none.covers_room(a));
    }
}
