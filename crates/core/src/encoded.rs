//! The size of items as JSON, by which pages, frames and bus messages are cut. The size is an upper bound for each format in
//! which an item is sent, at most some hundred bytes above the real one.

use crate::model::{Message, MessageInRoom, MessageVersion, Room, User, UserRef};
use crate::token::TokenWithUser;

/// The bytes of the field names, ids, numbers and times of the largest form of an item: a message within its event's frame.
pub(crate) const FIXED: usize = 512;
/// The same for a user within another item.
pub(crate) const FIXED_USER: usize = 96;
/// The same for a room within a message.
const FIXED_ROOM: usize = 192;
/// The same for an event about a message, without the message.
pub(crate) const FIXED_ABOUT: usize = 192;
/// The same for the change of a message.
pub(crate) const FIXED_DETAILS: usize = 448;
/// The bytes of a room's id within a list.
const ID: usize = 39;

/// An item with a size as JSON.
pub trait EncodedLen {
    /// Returns an upper bound of the bytes of its JSON, in a REST answer, in a WebSocket frame, or between nodes.
    fn encoded_len(&self) -> usize;
}

/// Returns the bytes of a text within a JSON string, without the quotes around it (RFC 8259, section 7). A quote, a backslash
/// and a control character with a short escape take two, every other control character six, and any other character what it
/// takes in UTF-8.
pub fn escaped_len(text: &str) -> usize {
    text.bytes().map(|byte| usize::from(ESCAPED[usize::from(byte)])).sum()
}

const ESCAPED: [u8; 256] = {
    let mut lengths = [1; 256];
    let mut control = 0;
    while control < 0x20 {
        lengths[control] = 6;
        control += 1;
    }
    lengths[b'"' as usize] = 2;
    lengths[b'\\' as usize] = 2;
    lengths[b'\n' as usize] = 2;
    lengths[b'\r' as usize] = 2;
    lengths[b'\t' as usize] = 2;
    // Backspace and form feed.
    lengths[0x08] = 2;
    lengths[0x0C] = 2;
    lengths
};

impl EncodedLen for Message {
    fn encoded_len(&self) -> usize {
        let id = self.client_message_id.as_ref().map_or(0, |id| escaped_len(id.as_str()));
        let details = self.details.as_ref().map_or(0, |_| FIXED_DETAILS);
        FIXED + details + escaped_len(self.content.as_str()) + id + escaped_len(self.author.username.as_str())
    }
}

impl EncodedLen for MessageVersion {
    fn encoded_len(&self) -> usize {
        let content = self.content.as_ref().map_or(0, |content| escaped_len(content.as_str()));
        FIXED_DETAILS + content + self.by.encoded_len()
    }
}

impl EncodedLen for MessageInRoom {
    fn encoded_len(&self) -> usize {
        self.message.encoded_len() + FIXED_ROOM + escaped_len(self.room_name.as_str())
    }
}

impl EncodedLen for Room {
    fn encoded_len(&self) -> usize {
        FIXED + escaped_len(self.name.as_str())
    }
}

impl EncodedLen for User {
    fn encoded_len(&self) -> usize {
        let external_id = self.external_id.as_ref().map_or(0, |id| escaped_len(id.as_str()));
        FIXED + escaped_len(self.username.as_str()) + external_id
    }
}

impl EncodedLen for UserRef {
    fn encoded_len(&self) -> usize {
        FIXED_USER + escaped_len(self.username.as_str())
    }
}

impl EncodedLen for TokenWithUser {
    fn encoded_len(&self) -> usize {
        let email = self.token.email.as_ref().map_or(0, |email| escaped_len(email.as_str()));
        let rooms = self.token.permissions.rooms.as_ref().map_or(0, |rooms| rooms.len() * ID);
        FIXED + escaped_len(self.user.username.as_str()) + email + rooms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escaped_length_is_that_of_json() {
        for character in (0..0x2_000).chain([0xFFFD, 0x1_F600]).filter_map(char::from_u32) {
            let text = character.to_string();
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(escaped_len(&text), json.len() - 2, "{character:?}");
        }
        assert_eq!(escaped_len(""), 0);
    }
}
