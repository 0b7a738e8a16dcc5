//! Tokens as the store knows them. The token itself, a signed JWT, is made by the front door and kept nowhere.

use serde::{Deserialize, Serialize};

use crate::ids::{RoomId, TokenId, UserId};
use crate::model::User;
use crate::text::Email;
use crate::time::Timestamp;

pub use chatsphere_types::TokenType;

/// What a token allows at most; its user's own rights limit it further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The rooms it is good for. `None`: every room of the user; an empty list: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<RoomId>>,
}

impl Permissions {
    /// What a token without `permissions` allows: everything that its user may do.
    pub const ALL: Self = Self { read: true, write: true, delete: true, rooms: None };

    /// Whether nothing is restricted.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// Whether the token is good for this room.
    pub fn covers_room(&self, room: RoomId) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.contains(&room))
    }

    /// Whether everything that `self` allows is allowed by `other` too.
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
    /// Who holds it.
    pub token_type: TokenType,
    /// Whom it stands for.
    pub user_id: UserId,
    /// What it allows at most.
    pub permissions: Permissions,
    /// The token that minted it, with which it dies. Only USER tokens have one.
    pub parent: Option<TokenId>,
    /// Whose CLIENT token it is.
    pub email: Option<Email>,
    /// The `iat` claim, in whole seconds.
    pub created_at: Timestamp,
    /// The `exp` claim, in whole seconds.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token together with the user it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWithUser {
    /// The token's row.
    pub token: Token,
    /// Its user's row.
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
