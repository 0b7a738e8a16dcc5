use serde::{Deserialize, Serialize};

/// A user's role, which holds in all rooms. Rights within one room also depend on ownership and membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// Has the rights of a CLIENT token, but only in its own name.
    Admin,
    /// May add and remove members of the rooms that it is a member of.
    Moderator,
    /// An ordinary user.
    Member,
}

impl Role {
    /// Returns the word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Moderator => "MODERATOR",
            Self::Member => "MEMBER",
        }
    }

    /// Parses such a word. The inverse of [`Role::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Admin, Self::Moderator, Self::Member].into_iter().find(|role| role.as_str() == word)
    }
}
