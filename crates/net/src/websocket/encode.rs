//! Encodes frames as the server sends them: unfragmented and unmasked (RFC 6455 sections 5.1 and 5.2).
//!
//! Each function returns a complete frame with its header, so that all recipients share one allocation.

use std::io;

use bytes::Bytes;

use super::frame::Opcode;
use super::{MAX_CONTROL_PAYLOAD, is_close_code};

/// The longest header of an unmasked frame: two bytes and a 64-bit length (section 5.2).
const MAX_HEADER: usize = 10;

/// A text message in one frame (section 5.6).
pub fn text_frame(text: &str) -> Bytes {
    frame(Opcode::Text, &[text.as_bytes()])
}

/// A ping (section 5.5.2). The payload is truncated to 125 bytes, because a longer one is a protocol error.
pub fn ping(payload: &[u8]) -> Bytes {
    frame(Opcode::Ping, &[control(payload)])
}

/// A pong with the payload of its ping (section 5.5.3), truncated to 125 bytes.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(Opcode::Pong, &[control(payload)])
}

/// A close frame (section 5.5.1). The code must be one that [`is_close_code`] allows. The reason is truncated at a character
/// boundary to fit.
pub fn close(code: u16, reason: &str) -> Bytes {
    debug_assert!(is_close_code(code), "{code} may not be sent");
    let code = code.to_be_bytes();
    let end = reason.floor_char_boundary(MAX_CONTROL_PAYLOAD - code.len());
    frame(Opcode::Close, &[&code, &reason.as_bytes()[..end]])
}

/// The answer to a client's close frame, with its code if present (section 5.5.1).
pub fn close_echo(code: Option<u16>) -> Bytes {
    match code {
        Some(code) => close(code, ""),
        None => frame(Opcode::Close, &[]),
    }
}

/// A text frame whose payload is serialised in place, after space reserved for the header (section 5.2).
///
/// The header's length depends on that of the payload, which is unknown beforehand. Space for the longest header is reserved,
/// and [`FrameBuilder::finish`] skips the unused part without moving the payload.
///
/// ```
/// use std::io::Write;
/// use chatsphere_net::websocket::FrameBuilder;
///
/// let mut frame = FrameBuilder::with_capacity(64);
/// frame.write_all(b"{}").expect("memory never fails");
/// assert_eq!(frame.finish().as_ref(), b"\x81\x02{}");
/// ```
#[derive(Debug)]
pub struct FrameBuilder {
    buffer: Vec<u8>,
}

impl FrameBuilder {
    /// An empty frame with capacity for `payload` bytes, which grows as needed. The finished frame keeps unused capacity
    /// allocated.
    pub fn with_capacity(payload: usize) -> Self {
        let mut buffer = Vec::with_capacity(MAX_HEADER.saturating_add(payload));
        buffer.resize(MAX_HEADER, 0);
        Self { buffer }
    }

    /// The payload written so far.
    pub fn payload(&self) -> &[u8] {
        &self.buffer[MAX_HEADER..]
    }

    /// Completes the frame. The payload must be UTF-8 (section 5.6), as serialised JSON is.
    pub fn finish(mut self) -> Bytes {
        debug_assert!(std::str::from_utf8(self.payload()).is_ok(), "a text frame must be UTF-8");
        let (header, size) = header(Opcode::Text, self.buffer.len() - MAX_HEADER);
        let start = MAX_HEADER - size;
        self.buffer[start..MAX_HEADER].copy_from_slice(&header[..size]);
        Bytes::from(self.buffer).slice(start..)
    }
}

impl Default for FrameBuilder {
    /// Capacity for a typical chat message.
    fn default() -> Self {
        Self::with_capacity(512 - MAX_HEADER)
    }
}

impl io::Write for FrameBuilder {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    // Serialisers in other crates call this for each piece of text.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]
}

fn frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum();
    let (header, size) = header(opcode, length);
    // The exact capacity, so that the conversion into `Bytes` does not reallocate.
    let mut frame = Vec::with_capacity(size + length);
    frame.extend_from_slice(&header[..size]);
    for part in parts {
        frame.extend_from_slice(part);
    }
    Bytes::from(frame)
}

/// The header of an unfragmented, unmasked frame, and its length (section 5.2).
fn header(opcode: Opcode, length: usize) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    header[0] = 0x80 | opcode.bits();
    let size = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => {
            header[1] = length;
            2
        }
        (_, Ok(length)) => {
            header[1] = 126;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(length as u64).to_be_bytes());
            MAX_HEADER
        }
    };
    (header, size)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_section_5_7() {
        assert_eq!(text_frame("Hello").as_ref(), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(ping(b"Hello").as_ref(), [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(frame(Opcode::Binary, &[&[7; 256]])[..4], [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(frame(Opcode::Binary, &[&[7; 65536]])[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, expected) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (255, vec![0x81, 126, 0, 255]),
            (0xffff, vec![0x81, 126, 0xff, 0xff]),
            (0x1_0000, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let mut built = FrameBuilder::with_capacity(length / 2);
            built.write_all(text.as_bytes()).unwrap();
            assert_eq!(built.payload(), text.as_bytes());
            for frame in [text_frame(&text), built.finish()] {
                assert_eq!(frame[..expected.len()], expected, "{length}");
                assert_eq!(&frame[expected.len()..], text.as_bytes());
            }
        }
    }

    #[test]
    fn control_frames_never_exceed_125_bytes() {
        assert_eq!(ping(&[1; 200]).len(), 2 + 125);
        assert_eq!(pong(&[1; 200])[..3], [0x8a, 125, 1]);
        assert_eq!(pong(b"").as_ref(), [0x8a, 0]);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(close(1000, "bye").as_ref(), b"\x88\x05\x03\xe8bye");
        assert_eq!(close(4029, &"a".repeat(200)).len(), 2 + 125);
        // 40 characters of three bytes make 120; the next one would end at 124, one more than fits.
        let cut = close(4008, &format!("{}é語", "語".repeat(40)));
        assert_eq!(cut[1], 2 + 122);
        let cut = close(4008, &format!("{}🦀", "語".repeat(40)));
        assert_eq!(&cut[..], [&[0x88, 122, 0x0f, 0xa8], "語".repeat(40).as_bytes()].concat());
    }

    #[test]
    fn a_close_is_echoed_with_or_without_its_code() {
        assert_eq!(close_echo(None).as_ref(), [0x88, 0]);
        assert_eq!(close_echo(Some(1001)).as_ref(), [0x88, 2, 0x03, 0xe9]);
    }

    #[test]
    fn json_is_serialised_in_place() {
        let value = serde_json::json!({ "type": "pong", "ref": "a" });
        let mut frame = FrameBuilder::default();
        serde_json::to_writer(&mut frame, &value).unwrap();
        let start = frame.payload().as_ptr();
        let frame = frame.finish();
        assert_eq!(frame, text_frame(&value.to_string()));
        assert_eq!(frame[2..].as_ptr(), start);
    }

    proptest! {
        #[test]
        fn a_close_always_fits(code in 3000_u16..5000, reason in "\\PC{0,200}") {
            let frame = close(code, &reason);
            prop_assert!(frame.len() <= 2 + 125);
            prop_assert_eq!(usize::from(frame[1]), frame.len() - 2);
            let sent = std::str::from_utf8(&frame[4..]).unwrap();
            prop_assert!(reason.starts_with(sent));
            prop_assert!(sent.len() == reason.len() || sent.len() > 119);
        }
    }
}
