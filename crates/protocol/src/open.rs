use serde::{Deserialize, Serialize};

/// A value of an enumeration to which later versions may add, as a server sends it. Decoding accepts values that this version
/// does not know. Requests have the closed type, so that a client sends known values only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Open<T> {
    /// A value that this version knows.
    Known(T),
    /// The text of any other value.
    Unknown(String),
}

impl<T: Copy> Open<T> {
    /// The value, if this version knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_types::Role;

    use super::*;

    #[test]
    fn an_unknown_value_keeps_its_text() {
        let read = |text: &str| serde_json::from_str::<Open<Role>>(text).unwrap();
        assert_eq!(read("\"ADMIN\""), Open::Known(Role::Admin));
        assert_eq!(read("\"READER\"").known(), None);
        for text in ["\"ADMIN\"", "\"READER\""] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
        assert!(serde_json::from_str::<Open<Role>>("1").is_err());
    }
}
