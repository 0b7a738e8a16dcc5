//! Typed ids. A [`RoomId`] cannot be passed where a [`UserId`] is meant.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::Timestamp;

/// The UUID of one kind of object. [`Id::new`] makes version 7 (RFC 9562, section 5.7); parsing accepts any version.
pub struct Id<Kind>(Uuid, PhantomData<fn() -> Kind>);

/// The kind of [`UserId`].
pub enum UserKind {}
/// The kind of [`RoomId`].
pub enum RoomKind {}
/// The kind of [`MessageId`].
pub enum MessageKind {}
/// The kind of [`TokenId`].
pub enum TokenKind {}
/// The kind of [`ConnectionId`].
pub enum ConnectionKind {}

/// The id of a user: a person, or an application's backend.
pub type UserId = Id<UserKind>;
/// The id of a room.
pub type RoomId = Id<RoomKind>;
/// The id of a message.
pub type MessageId = Id<MessageKind>;
/// The id of a token, which is the `jti` claim of its JWT. It is not a secret.
pub type TokenId = Id<TokenKind>;
/// The id of a WebSocket connection of one node.
pub type ConnectionId = Id<ConnectionKind>;

impl<Kind> Id<Kind> {
    /// Makes a version 7 id with the time `now`, in milliseconds, and 74 random bits.
    pub fn new(now: Timestamp) -> Self {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
        Self::from_uuid(uuid)
    }

    /// Wraps a UUID of any version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// Returns the UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// Returns the 16 bytes of the UUID, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Makes an id of 16 bytes, most significant first. The inverse of [`Id::as_bytes`].
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
}

impl<Kind> Clone for Id<Kind> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Kind> Copy for Id<Kind> {}

impl<Kind> PartialEq for Id<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<Kind> Eq for Id<Kind> {}

impl<Kind> PartialOrd for Id<Kind> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<Kind> Ord for Id<Kind> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<Kind> Hash for Id<Kind> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID such as 0198c0de-7c1a-7000-8000-0123456789ab")]
pub struct InvalidId;

impl<Kind> FromStr for Id<Kind> {
    type Err = InvalidId;

    /// Parses the hyphenated form of RFC 9562, section 4, in upper or lower case. Other forms are errors.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != 36 {
            return Err(InvalidId);
        }
        Uuid::try_parse(text).map(Self::from_uuid).map_err(|_| InvalidId)
    }
}

impl<Kind> Serialize for Id<Kind> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de, Kind> Deserialize<'de> for Id<Kind> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_carry_their_time() {
        let id = RoomId::new(Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(id.as_uuid().get_version_num(), 7);
        let (seconds, nanos) = id.as_uuid().get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn only_the_hyphenated_form_is_parsed() {
        let id = UserId::new(Timestamp::from_millis(1));
        assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<UserId>(), Ok(id));
        for bad in ["", "x", &id.as_uuid().simple().to_string(), &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidId), "{bad}");
        }
    }
}
