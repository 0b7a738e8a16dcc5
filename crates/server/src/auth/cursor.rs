//! Encrypted cursors of lists. A cursor reveals nothing, such as the number of messages, and is valid only for the caller and
//! the list that it was issued for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatsphere_core::store::Cursor;
use chatsphere_core::{Caller, Error, InvalidField, MessageId, RoomId, UserId};

/// The version of the format below. Version 1 was not encrypted.
const VERSION: u8 = 2;
/// The purpose for which the key is derived.
const PURPOSE: &[u8] = b"chatsphere cursors v2";
const PLACE: usize = 8;
const TAG: usize = 16;
/// The version, a nonce, the encrypted position and its tag: 50 characters.
const LENGTH: usize = 1 + NONCE_LEN + PLACE + TAG;

/// The list that a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Users,
    Rooms,
    Members(RoomId),
    Messages,
    MessagesOf(UserId),
    Tokens,
    Versions(MessageId),
    Pins(RoomId),
}

impl List {
    fn bytes(self) -> [u8; 17] {
        let (number, subject) = match self {
            Self::Users => (1, [0; 16]),
            Self::Rooms => (2, [0; 16]),
            Self::Members(room) => (3, *room.as_bytes()),
            Self::Messages => (4, [0; 16]),
            Self::MessagesOf(user) => (6, *user.as_bytes()),
            Self::Tokens => (5, [0; 16]),
            Self::Versions(message) => (7, *message.as_bytes()),
            Self::Pins(room) => (8, *room.as_bytes()),
        };
        let mut bytes = [number; 17];
        bytes[1..].copy_from_slice(&subject);
        bytes
    }
}

/// Encrypts and decrypts cursors of all lists.
pub(super) struct CursorKeys {
    /// The keys derived from the current and the previous secret, if any. Nodes with the same secrets have the same keys.
    keys: Vec<LessSafeKey>,
}

impl CursorKeys {
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let keys = secrets.filter_map(|secret| {
            let derived = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret), PURPOSE);
            UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok().map(LessSafeKey::new)
        });
        Self { keys: keys.collect() }
    }
}

/// The cursors of one list for one caller.
pub(crate) struct Cursors<'a> {
    keys: &'a CursorKeys,
    /// The associated data: version, list and caller.
    bound: [u8; 34],
}

impl<'a> Cursors<'a> {
    pub(super) fn new(keys: &'a CursorKeys, caller: &Caller, list: List) -> Self {
        let mut bound = [VERSION; 34];
        bound[1..18].copy_from_slice(&list.bytes());
        bound[18..].copy_from_slice(caller.user.id.as_bytes());
        Self { keys, bound }
    }

    /// The encoded cursor.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system provides no random numbers.
    pub(crate) fn seal(&self, cursor: Cursor) -> Result<String, Error> {
        self.sealed(cursor).ok_or_else(|| {
            tracing::error!("a cursor could not be sealed");
            Error::Internal
        })
    }

    fn sealed(&self, cursor: Cursor) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut place = cursor.0.to_be_bytes();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let tag = self.keys.keys.first()?.seal_in_place_separate_tag(nonce_used, Aad::from(self.bound), &mut place).ok()?;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend(nonce);
        bytes.extend(place);
        bytes.extend(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The inverse of [`Cursors::seal`].
    ///
    /// # Errors
    /// [`InvalidField`] for a text that was not issued for this list and caller.
    pub(crate) fn open(&self, text: &str) -> Result<Cursor, InvalidField> {
        self.opened(text).ok_or_else(|| {
            InvalidField::new(
                "cursor",
                "must be taken as it is from the Link header of a page of this list, by the user who got that page",
            )
        })
    }

    fn opened(&self, text: &str) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() != LENGTH {
            return None;
        }
        let [VERSION, rest @ ..] = bytes.as_slice() else { return None };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.keys.keys.iter().find_map(|key| {
            let mut sealed = sealed.to_vec();
            let place = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(self.bound), &mut sealed).ok()?;
            Some(Cursor(i64::from_be_bytes((&*place).try_into().ok()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{Timestamp, UserRef, Username};
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn keys(secrets: &[&'static [u8]]) -> CursorKeys {
        CursorKeys::new(secrets.iter().copied())
    }

    fn caller(number: i64) -> Caller {
        let at = Timestamp::from_millis(number);
        Caller::operator(UserRef { id: UserId::new(at), username: Username::from_stored("ada".to_owned()) }, at)
    }

    #[test]
    fn a_cursor_is_good_for_its_list_and_its_user() {
        let keys = keys(&[SECRET]);
        let (ada, bob) = (caller(1), caller(2));
        let (one, two) = (RoomId::new(Timestamp::from_millis(1)), RoomId::new(Timestamp::from_millis(2)));
        let lists = [
            List::Users,
            List::Rooms,
            List::Members(one),
            List::Members(two),
            List::Messages,
            List::MessagesOf(ada.user.id),
            List::MessagesOf(bob.user.id),
            List::Tokens,
        ];
        for list in lists {
            let text = Cursors::new(&keys, &ada, list).seal(Cursor(7)).unwrap();
            for other in lists {
                let opened = Cursors::new(&keys, &ada, other).open(&text);
                assert_eq!(opened.is_ok(), other == list, "{list:?} {other:?}");
            }
            assert!(Cursors::new(&keys, &bob, list).open(&text).is_err(), "{list:?}");
        }
    }

    #[test]
    fn it_tells_nothing_and_has_one_length() {
        let keys = keys(&[SECRET]);
        let ada = caller(1);
        let cursors = Cursors::new(&keys, &ada, List::Messages);
        let texts = [0, 1, 1, i64::MAX, -1].map(|place| cursors.seal(Cursor(place)).unwrap());
        assert!(texts.iter().all(|text| text.len() == 50), "{texts:?}");
        assert_ne!(texts[1], texts[2]);
        // A cursor of version 1.
        assert!(cursors.open("AQAAAAAAAAAqNcTm").is_err());
    }

    #[test]
    fn secrets_may_rotate_and_nodes_share_them() {
        let new: &[u8] = b"fedcba9876543210fedcba9876543210";
        let ada = caller(1);
        let before = Cursors::new(&keys(&[SECRET]), &ada, List::Users).seal(Cursor(7)).unwrap();
        assert_eq!(Cursors::new(&keys(&[SECRET]), &ada, List::Users).open(&before), Ok(Cursor(7)));
        assert_eq!(Cursors::new(&keys(&[new, SECRET]), &ada, List::Users).open(&before), Ok(Cursor(7)));
        assert!(Cursors::new(&keys(&[new]), &ada, List::Users).open(&before).is_err());
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back(place: i64) {
            let (keys, ada) = (keys(&[SECRET]), caller(1));
            let cursors = Cursors::new(&keys, &ada, List::Users);
            prop_assert_eq!(cursors.open(&cursors.seal(Cursor(place)).unwrap()), Ok(Cursor(place)));
        }

        #[test]
        fn a_mangled_one_is_refused(place: i64, index in 0..50_usize, letter in "[A-Za-z0-9_-]") {
            let (keys, ada) = (keys(&[SECRET]), caller(1));
            let cursors = Cursors::new(&keys, &ada, List::Users);
            let mut text = cursors.seal(Cursor(place)).unwrap();
            let changed = text[index..=index] != letter;
            text.replace_range(index..=index, &letter);
            prop_assert_eq!(cursors.open(&text).is_err(), changed);
        }

        #[test]
        fn no_text_panics(text: String) {
            let (keys, ada) = (keys(&[SECRET]), caller(1));
            prop_assert!(Cursors::new(&keys, &ada, List::Users).open(&text).is_err());
        }
    }
}
