use serde::{Deserialize, Serialize};

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TokenType {
    /// One person's device.
    User,
    /// An application's own backend.
    Client,
}

impl TokenType {
    /// The word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Client => "CLIENT",
        }
    }

    /// The inverse of [`TokenType::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Client].into_iter().find(|token_type| token_type.as_str() == word)
    }
}
