//! The key of the hashes by which a message that was deleted for good is recognized when a client sends it again.

use std::fmt;

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use chatsphere_core::{ClientMessageId, RoomId, UserId};

/// A key that the database does not have. Without it, short ids could be guessed from their hashes.
#[derive(Clone)]
pub struct ClientIdKey(Key);

impl ClientIdKey {
    /// Makes the key of a secret, which all nodes on a database share.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// Returns the hash of an author's `clientMessageId` in a room.
    pub(crate) fn hash(&self, author: UserId, room: RoomId, id: &ClientMessageId) -> Vec<u8> {
        let mut context = Context::with_key(&self.0);
        // The label keeps hashes for other purposes apart.
        context.update(b"chatsphere client message id v1\0");
        context.update(author.as_bytes());
        context.update(room.as_bytes());
        context.update(id.as_str().as_bytes());
        context.sign().as_ref().to_vec()
    }
}

impl fmt::Debug for ClientIdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_and_the_key_make_another_hash() {
        let id = |text: &str| ClientMessageId::from_stored(text.to_owned());
        let (one, two) = (ClientIdKey::new(b"one"), ClientIdKey::new(b"two"));
        let hashes = [
            one.hash(UserId::from_bytes([1; 16]), RoomId::from_bytes([2; 16]), &id("m-1")),
            one.hash(UserId::from_bytes([2; 16]), RoomId::from_bytes([2; 16]), &id("m-1")),
            one.hash(UserId::from_bytes([1; 16]), RoomId::from_bytes([1; 16]), &id("m-1")),
            one.hash(UserId::from_bytes([1; 16]), RoomId::from_bytes([2; 16]), &id("m-2")),
            two.hash(UserId::from_bytes([1; 16]), RoomId::from_bytes([2; 16]), &id("m-1")),
        ];
        let different: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!((different.len(), hashes[0].len()), (hashes.len(), 32));
        assert_eq!(format!("{one:?}"), "ClientIdKey");
    }
}
