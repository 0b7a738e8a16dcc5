use serde::{Deserialize, Serialize};

/// The type of a token: who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TokenType {
    /// A device of one person.
    User,
    /// The backend of an application.
    Client,
}

impl TokenType {
    /// Returns the word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Client => "CLIENT",
        }
    }

    /// Parses such a word. The inverse of [`TokenType::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Client].into_iter().find(|token_type| token_type.as_str() == word)
    }
}
