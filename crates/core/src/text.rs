//! Texts that people and programs send. Each type is validated when its value is created.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::InvalidField;
use unicode_normalization::char::is_combining_mark;

use crate::invisible::first_invisible;
use crate::limits::Limits;

/// A user's name: 1 to 64 characters without control characters and invisible ones, and without white space at its ends. No two
/// users may have names with the same key by [`NameKeys`](crate::NameKeys). Copies share their text, because a page or a batch has
/// many messages of few authors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Username(Arc<str>);

/// A room's name: 1 to 128 characters without control characters and invisible ones, and without white space at its ends.
/// Several rooms may have the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomName(String);

/// A message's content: 1 byte to 32 KiB of UTF-8 without U+0000, which PostgreSQL can't store.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(String);

/// A sender's own id of a message: 1 to 64 bytes without control characters. It stays unique for one author in one room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientMessageId(String);

/// An application's own id of a user: 1 to 128 bytes without control characters. It is unique, and compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExternalId(String);

/// The email address of a CLIENT token's holder: 3 to 254 bytes with an `@` inside (RFC 5321, section 4.5.3.1.3). The server
/// sends no mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Email(String);

impl Username {
    /// Validates a name from a client.
    pub fn parse(text: String, limits: &Limits) -> Result<Self, InvalidField> {
        check_name("username", &text, limits.username_chars)?;
        Ok(Self(text.into()))
    }

    /// Makes the value of a text that was validated before it was stored.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoomName {
    /// Validates a name from a client.
    pub fn parse(text: String, limits: &Limits) -> Result<Self, InvalidField> {
        check_name("name", &text, limits.room_name_chars)?;
        Ok(Self(text))
    }
}

impl Content {
    /// Validates content from a client.
    pub fn parse(text: String, limits: &Limits) -> Result<Self, InvalidField> {
        if text.is_empty() {
            return Err(InvalidField::new("content", "must not be empty"));
        }
        if text.len() > limits.message_bytes {
            let message = format!("must be at most {} bytes of UTF-8; this has {}", limits.message_bytes, text.len());
            return Err(InvalidField::new("content", message));
        }
        if text.contains('\0') {
            return Err(InvalidField::new("content", "must not contain the character U+0000"));
        }
        Ok(Self(text))
    }
}

impl ClientMessageId {
    /// Validates an id from a client.
    pub fn parse(text: String, limits: &Limits) -> Result<Self, InvalidField> {
        check_bytes("clientMessageId", &text, limits.client_message_id_bytes)?;
        Ok(Self(text))
    }
}

impl ExternalId {
    /// The longest id, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Validates an id from a client.
    pub fn parse(text: String) -> Result<Self, InvalidField> {
        check_bytes("externalId", &text, Self::MAX_BYTES)?;
        Ok(Self(text))
    }
}

impl Email {
    /// Validates an address from a client, by its shape only.
    pub fn parse(text: String) -> Result<Self, InvalidField> {
        check_bytes("email", &text, 254)?;
        check_visible("email", &text)?;
        match text.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Ok(Self(text)),
            _ => Err(InvalidField::new("email", "must have the form name@example.com")),
        }
    }
}

/// Checks that a name has 1 to `max` characters, no control characters or invisible ones, and visible characters at both ends.
fn check_name(field: &'static str, text: &str, max: usize) -> Result<(), InvalidField> {
    // Counting stops at `max`, so a huge name costs no more than a long one.
    let count = text.chars().take(max + 1).count();
    if count == 0 || count > max {
        return Err(InvalidField::new(field, format!("must have 1 to {max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidField::new(field, "must not contain control characters"));
    }
    check_visible(field, text)?;
    // A combining mark without a letter before it is drawn over the text before the name, or is hardly visible.
    let mut before = None;
    for c in text.chars() {
        if is_combining_mark(c) && before.is_none_or(char::is_whitespace) {
            let message =
                format!("must have a letter or other character below each combining mark; U+{:04X} has none", u32::from(c));
            return Err(InvalidField::new(field, message));
        }
        before = Some(c);
    }
    Ok(())
}

/// Checks that a text has no invisible characters, and no white space at its ends.
fn check_visible(field: &'static str, text: &str) -> Result<(), InvalidField> {
    if let Some(hidden) = first_invisible(text) {
        // The message names the character, because the user can't see it.
        let message = format!("must not contain invisible characters; this has U+{:04X}", u32::from(hidden));
        return Err(InvalidField::new(field, message));
    }
    let ends = [text.chars().next(), text.chars().next_back()];
    if let Some(blank) = ends.into_iter().flatten().find(|c| c.is_whitespace()) {
        let message = format!("must not begin or end with white space; this does with U+{:04X}", u32::from(blank));
        return Err(InvalidField::new(field, message));
    }
    Ok(())
}

/// Checks that a text has 1 to `max` bytes and no control characters. This is also the rule for `ref`.
pub fn check_bytes(field: &'static str, text: &str, max: usize) -> Result<(), InvalidField> {
    if text.is_empty() || text.len() > max {
        return Err(InvalidField::new(field, format!("must have 1 to {max} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidField::new(field, "must not contain control characters"));
    }
    Ok(())
}

/// Adds the methods to read a text. `from_stored` accepts texts that this server stored, perhaps under other limits.
macro_rules! reading_side {
    ($($text:ident),+) => {$(
        impl $text {
            /// Makes the value of a text that was validated before it was stored.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}
reading_side!(RoomName, Content, ClientMessageId, ExternalId, Email);

impl fmt::Debug for Content {
    /// Shows only the length, so that contents are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_visible_characters() {
        let limits = Limits::default();
        for good in ["a", "Ada Lovelace", "日本語", &"x".repeat(64), &"é".repeat(64)] {
            assert!(Username::parse(good.to_owned(), &limits).is_ok(), "{good}");
        }
        for bad in ["", "  ", "a\nb", "a\0", "\u{85}", &"x".repeat(65)] {
            assert!(Username::parse(bad.to_owned(), &limits).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_does_not_look_like_another() {
        let limits = Limits::default();
        for twin in ["ada\u{200b}", "\u{202e}ada", "a\u{ad}da", "ada\u{2800}"] {
            let refused = Username::parse(twin.to_owned(), &limits).unwrap_err();
            assert!(refused.message.contains("U+"), "{refused}");
            assert!(RoomName::parse(twin.to_owned(), &limits).is_err(), "{twin:?}");
            // A name that was stored before this rule existed is still read.
            assert_eq!(Username::from_stored(twin.to_owned()).as_str(), twin);
        }
    }

    #[test]
    fn both_ends_of_a_name_are_visible() {
        let limits = Limits::default();
        for blank in [' ', '\u{a0}', '\u{1680}', '\u{2002}', '\u{2009}', '\u{202f}', '\u{205f}', '\u{3000}'] {
            for name in [format!("ada{blank}"), format!("{blank}ada"), format!("{blank}"), format!("{blank}{blank}")] {
                let refused = Username::parse(name.clone(), &limits).unwrap_err();
                assert!(refused.message.contains(&format!("U+{:04X}", u32::from(blank))), "{refused}");
                assert!(RoomName::parse(name.clone(), &limits).is_err(), "{name:?}");
                assert_eq!(Username::from_stored(name.clone()).as_str(), name);
            }
        }
        for empty in
            ["\u{2800}", "\u{115f}", "\u{1160}", "\u{3164}", "\u{ffa0}", "\u{200b}", "\u{301}", "\u{20dd}", "\u{1d159}"]
        {
            for name in [empty.to_owned(), format!("{empty}ada"), format!("ada {empty}")] {
                assert!(Username::parse(name.clone(), &limits).is_err(), "{name:?}");
                assert!(RoomName::parse(name.clone(), &limits).is_err(), "{name:?}");
            }
        }
        for good in ["Ada Lovelace", "Ada\u{a0}Lovelace", "e\u{301}", "हिन्दी", "Ada \u{3000} L", "1️⃣", "❤️"]
        {
            assert!(Username::parse(good.to_owned(), &limits).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_external_id_may_be_any_printable_text() {
        for good in ["42", "auth0|5f/7", "日本", &"x".repeat(128), " a "] {
            assert!(ExternalId::parse(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\0", "\u{7f}", &"x".repeat(129), &"é".repeat(65)] {
            assert!(ExternalId::parse(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn content_is_measured_in_bytes_and_never_shown() {
        let limits = Limits::default();
        assert!(Content::parse("é".repeat(16 * 1024), &limits).is_ok());
        assert!(Content::parse("é".repeat(16 * 1024) + "x", &limits).is_err());
        assert!(Content::parse("a\0b".to_owned(), &limits).is_err());
        assert!(!format!("{:?}", Content::parse("secret".to_owned(), &limits)).contains("secret"));
    }

    #[test]
    fn an_email_has_two_sides() {
        assert!(Email::parse("ops@example.com".to_owned()).is_ok());
        for bad in ["", "@", "a@", "@b", "ab", "a\n@b", " a@b", "a@b\u{a0}", "a@b\u{200b}"] {
            assert!(Email::parse(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
