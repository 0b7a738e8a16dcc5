//! Cursors as clients see them: opaque, versioned, good for one list, and refused when mangled.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatsphere_core::InvalidField;
use chatsphere_core::store::Cursor;
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;

/// The list that a cursor stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Users = 1,
    Rooms = 2,
    Members = 3,
    Messages = 4,
    Tokens = 5,
}

/// The cursor's text: a version, the place, and a check.
pub(crate) fn encode(list: List, cursor: Cursor) -> String {
    let place = cursor.0.to_be_bytes();
    let mut bytes = [0; 12];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&place);
    bytes[9..].copy_from_slice(&check(list, place));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The inverse of [`encode`].
pub(crate) fn decode(list: List, text: &str) -> Result<Cursor, InvalidField> {
    let invalid = || InvalidField::new("cursor", "must be taken as it is from the Link header of a page of this list");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    let [VERSION, rest @ ..] = bytes.as_slice() else { return Err(invalid()) };
    let (place, sum) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
    if sum != check(list, *place) {
        return Err(invalid());
    }
    Ok(Cursor(i64::from_be_bytes(*place)))
}

/// Tells a slip of the pen and another list's cursor. It is no secret: a place gives no rights.
fn check(list: List, place: [u8; 8]) -> [u8; 3] {
    let digest = Sha256::new().chain_update([VERSION, list as u8]).chain_update(place).finalize();
    [digest[0], digest[1], digest[2]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(place: i64) {
            let text = encode(List::Users, Cursor(place));
            prop_assert_eq!(decode(List::Users, &text), Ok(Cursor(place)));
            prop_assert!(decode(List::Rooms, &text).is_err());
        }

        #[test]
        fn a_mangled_one_is_refused(place: i64, index in 0..16_usize, letter in "[A-Za-z0-9_-]") {
            let mut text = encode(List::Users, Cursor(place));
            let changed = text[index..=index] != letter;
            text.replace_range(index..=index, &letter);
            prop_assert_eq!(decode(List::Users, &text).is_err(), changed);
        }

        #[test]
        fn no_text_panics(text: String) {
            prop_assert!(decode(List::Users, &text).is_err());
        }
    }
}
