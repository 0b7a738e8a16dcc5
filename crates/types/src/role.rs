use serde::{Deserialize, Serialize};

/// What a user may do in general. Rights within one room come from owning it or being its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Role {
    /// May do what a CLIENT token may, in its own name.
    Admin,
    /// Moderates the rooms that it is a member of.
    Moderator,
    /// An ordinary user.
    Member,
}

impl Role {
    /// The word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Moderator => "MODERATOR",
            Self::Member => "MEMBER",
        }
    }

    /// The inverse of [`Role::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Admin, Self::Moderator, Self::Member].into_iter().find(|role| role.as_str() == word)
    }
}
