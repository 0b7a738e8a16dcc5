//! Assembles frames into messages (RFC 6455 section 5.4).

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{self, Header, Opcode};
use super::{ProtocolError, is_close_code};

/// The default maximum size of a message, in bytes.
pub const DEFAULT_MAX_FRAME: usize = 64 * 1024;

/// A complete, unmasked message or control frame of a client (RFC 6455 sections 5.6 and 5.5).
///
/// An unfragmented message shares the memory of the buffer that it was decoded from, and keeps that buffer alive. Payloads of
/// pings and pongs are copied, because they may wait in a write queue.
///
/// `Debug` shows only lengths, because messages may contain tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text message, valid UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping, to be answered with a pong with the same payload (section 5.5.2).
    Ping(Bytes),
    /// A pong, solicited or not (section 5.5.3).
    Pong(Bytes),
    /// A close frame, after which nothing follows (section 5.5.1).
    Close {
        /// The code, if the frame has a body.
        code: Option<u16>,
        /// The reason, usually empty.
        reason: String,
    },
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(data) => write!(f, "Text({} bytes)", data.len()),
            Self::Binary(data) => write!(f, "Binary({} bytes)", data.len()),
            Self::Ping(data) => write!(f, "Ping({} bytes)", data.len()),
            Self::Pong(data) => write!(f, "Pong({} bytes)", data.len()),
            Self::Close { code, reason } => write!(f, "Close({code:?}, {} bytes)", reason.len()),
        }
    }
}

/// Decodes the bytes of one client into messages (RFC 6455 sections 5 and 6.2).
///
/// It stores nothing between messages: an incomplete frame stays in the caller's buffer, and memory is allocated only for a
/// fragmented message in progress.
#[derive(Debug)]
pub struct Decoder {
    max: usize,
    frames: Frames,
    under_way: Option<Assembly>,
    state: State,
}

/// Number of decoded frames; several may form one message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// All frames.
    pub all: u32,
    /// Frames that add neither payload nor the end of a message.
    pub empty: u32,
}

#[derive(Debug)]
enum State {
    Open,
    /// A close frame was decoded; what follows is discarded (section 5.5.1).
    Closed,
    /// The connection has failed; nothing more may be processed (section 7.1.7).
    Failed(ProtocolError),
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME)
    }
}

impl Decoder {
    /// A decoder that rejects frames and fragmented messages of more than `max_frame` bytes.
    pub const fn new(max_frame: usize) -> Self {
        Self { max: max_frame, frames: Frames { all: 0, empty: 0 }, under_way: None, state: State::Open }
    }

    /// Removes the next message from the front of `buf`; `None` if more bytes are needed.
    ///
    /// Call it until it returns `None`, then read more unless the decoder [is finished](Self::is_finished). An incomplete frame
    /// stays in `buf`, so `buf` holds at most the limit (or the 125 bytes of a control frame), a header of 14 bytes, and one
    /// read. A frame over the limit is rejected at its header. After a close frame or an error all bytes are discarded, and
    /// every call returns `None` or the same error.
    ///
    /// # Errors
    /// If the client violated RFC 6455; the connection must be closed.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Incoming>, ProtocolError> {
        let decoded = match self.state {
            State::Open => self.next(buf),
            State::Closed => Ok(None),
            State::Failed(error) => Err(error),
        };
        match decoded {
            Ok(Some(Incoming::Close { .. })) => self.state = State::Closed,
            Err(error) => self.state = State::Failed(error),
            Ok(_) => {}
        }
        if !matches!(self.state, State::Open) {
            buf.clear();
            self.under_way = None;
        }
        decoded
    }

    /// Whether a close frame or an error has ended decoding.
    pub const fn is_finished(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// Returns and resets the number of decoded frames. Each frame costs time, even if it completes no message.
    pub const fn take_frames(&mut self) -> Frames {
        let frames = self.frames;
        self.frames = Frames { all: 0, empty: 0 };
        frames
    }

    /// Whether a fragmented message is in progress.
    pub const fn is_assembling(&self) -> bool {
        self.under_way.is_some()
    }

    /// Memory of the fragmented message in progress, in bytes; zero if there is none.
    pub fn held_bytes(&self) -> usize {
        self.under_way.as_ref().map_or(0, |message| message.data.capacity())
    }

    fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Incoming>, ProtocolError> {
        // One iteration per frame that completes no message; each removes at least a header from the buffer.
        while let Some(header) = Header::parse(buf)? {
            let length = self.admit(&header)?;
            let Some(payload) = buf.get_mut(header.size..header.size.saturating_add(length)) else {
                return Ok(None);
            };
            self.frames.all = self.frames.all.saturating_add(1);
            self.frames.empty = self.frames.empty.saturating_add(u32::from(length == 0 && !header.fin));
            frame::unmask(payload, header.mask);
            buf.advance(header.size);
            let payload = buf.split_to(length);
            let message = match header.opcode {
                Opcode::Ping => Some(Incoming::Ping(Bytes::copy_from_slice(&payload))),
                Opcode::Pong => Some(Incoming::Pong(Bytes::copy_from_slice(&payload))),
                Opcode::Close => Some(close(&payload)?),
                Opcode::Text | Opcode::Binary if header.fin => Some(whole(header.opcode == Opcode::Text, payload.freeze())?),
                Opcode::Text | Opcode::Binary | Opcode::Continuation => self.fragment(&header, &payload)?,
            };
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// Checks that the frame is allowed here and within the limit; returns its length.
    fn admit(&self, header: &Header) -> Result<usize, ProtocolError> {
        let room = match (header.opcode, &self.under_way) {
            // A control frame was already limited to 125 bytes, and belongs to no message.
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => usize::MAX,
            (Opcode::Text | Opcode::Binary, None) => self.max,
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::InterleavedMessage),
            (Opcode::Continuation, Some(message)) => self.max.saturating_sub(message.data.len()),
            (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        };
        usize::try_from(header.payload).ok().filter(|length| *length <= room).ok_or(ProtocolError::TooBig)
    }

    fn fragment(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        let mut message =
            self.under_way.take().unwrap_or_else(|| Assembly { text: header.opcode == Opcode::Text, data: Vec::new() });
        message.extend(payload, self.max);
        if header.fin {
            return whole(message.text, Bytes::from(message.data)).map(Some);
        }
        self.under_way = Some(message);
        Ok(None)
    }
}

/// An incomplete fragmented message (section 5.4).
#[derive(Debug)]
struct Assembly {
    text: bool,
    data: Vec<u8>,
}

impl Assembly {
    /// Doubles the capacity like a vector, but never exceeds the limit.
    fn extend(&mut self, payload: &[u8], max: usize) {
        let needed = self.data.len() + payload.len();
        if needed > self.data.capacity() {
            let wanted = self.data.capacity().saturating_mul(2).min(max).max(needed);
            self.data.reserve_exact(wanted - self.data.len());
        }
        self.data.extend_from_slice(payload);
    }
}

fn whole(text: bool, data: Bytes) -> Result<Incoming, ProtocolError> {
    if !text {
        return Ok(Incoming::Binary(data));
    }
    match std::str::from_utf8(&data) {
        Ok(_) => Ok(Incoming::Text(data)),
        Err(_) => Err(ProtocolError::InvalidUtf8),
    }
}

/// Parses the body of a close frame (section 5.5.1).
fn close(payload: &[u8]) -> Result<Incoming, ProtocolError> {
    match payload {
        [] => Ok(Incoming::Close { code: None, reason: String::new() }),
        [_] => Err(ProtocolError::TruncatedCloseCode),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_close_code(code) {
                return Err(ProtocolError::InvalidCloseCode);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
            Ok(Incoming::Close { code: Some(code), reason: reason.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length <= 125);
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = [&[first, 0x80 | length], &mask[..], payload].concat();
        frame::unmask(&mut bytes[6..], mask);
        bytes
    }

    fn buffer(frames: &[Vec<u8>]) -> BytesMut {
        BytesMut::from(&frames.concat()[..])
    }

    #[test]
    fn an_idle_decoder_is_small_and_holds_no_memory() {
        assert!(size_of::<Decoder>() <= 64, "{} bytes", size_of::<Decoder>());
        let mut decoder = Decoder::default();
        assert_eq!(decoder.held_bytes(), 0);
        let mut buf = buffer(&[masked(0x01, b"half"), masked(0x80, b" and half")]);
        assert_eq!(decoder.decode(&mut buf), Ok(Some(Incoming::Text(Bytes::from_static(b"half and half")))));
        assert_eq!((decoder.held_bytes(), buf.len()), (0, 0));
    }

    #[test]
    fn an_unfragmented_message_is_not_copied() {
        let mut buf = buffer(&[masked(0x82, b"where it was read")]);
        let there = buf[6..].as_ptr();
        let Ok(Some(Incoming::Binary(data))) = Decoder::default().decode(&mut buf) else { panic!("no message") };
        assert_eq!(data.as_ptr(), there);
    }

    #[test]
    fn assembling_never_takes_more_than_the_limit() {
        let mut decoder = Decoder::new(1000);
        let mut buf = buffer(&[masked(0x02, &[7; 100])]);
        assert_eq!(decoder.decode(&mut buf), Ok(None));
        for _ in 0..9 {
            buf.extend_from_slice(&masked(0x00, &[7; 100]));
            assert_eq!(decoder.decode(&mut buf), Ok(None));
            assert!(decoder.held_bytes() <= 1000, "{} bytes", decoder.held_bytes());
        }
        // At the limit, an empty final frame is still accepted.
        buf.extend_from_slice(&masked(0x80, b""));
        assert_eq!(decoder.decode(&mut buf), Ok(Some(Incoming::Binary(Bytes::from(vec![7; 1000])))));
    }

    #[test]
    fn a_flood_of_empty_fragments_takes_no_memory() {
        let mut decoder = Decoder::default();
        let mut buf = buffer(&[masked(0x01, b"")]);
        for _ in 0..1000 {
            buf.extend_from_slice(&masked(0x00, b"").repeat(100));
            assert_eq!(decoder.decode(&mut buf), Ok(None));
            assert_eq!((decoder.held_bytes(), buf.len()), (0, 0));
        }
    }

    #[test]
    fn too_big_is_reported_before_the_payload_comes() {
        for (first, allowed) in [(0x82, 300_u16), (0x02, 300)] {
            for length in [allowed, allowed + 1] {
                let [high, low] = length.to_be_bytes();
                let mut buf = BytesMut::from(&[first, 0xfe, high, low, 0, 0, 0, 0][..]);
                let expected = if length > allowed { Err(ProtocolError::TooBig) } else { Ok(None) };
                assert_eq!(Decoder::new(300).decode(&mut buf), expected);
            }
        }
        let mut buf = buffer(&[masked(0x02, &[0; 100]), masked(0x00, &[0; 100])[..6].to_vec()]);
        assert_eq!(Decoder::new(199).decode(&mut buf.clone()), Err(ProtocolError::TooBig));
        assert_eq!(Decoder::new(200).decode(&mut buf), Ok(None));
    }

    #[test]
    fn nothing_is_read_after_a_close_or_an_error() {
        let mut decoder = Decoder::default();
        let mut buf = buffer(&[masked(0x88, b"\x03\xe8bye"), masked(0x81, b"late")]);
        let close = Incoming::Close { code: Some(1000), reason: "bye".to_owned() };
        assert_eq!(decoder.decode(&mut buf), Ok(Some(close)));
        buf.extend_from_slice(&masked(0x81, b"later"));
        assert_eq!(decoder.decode(&mut buf), Ok(None));
        assert!(decoder.is_finished() && buf.is_empty());

        let mut decoder = Decoder::default();
        let mut buf = buffer(&[masked(0x01, b"begun"), masked(0x83, b""), masked(0x80, b"ended")]);
        for _ in 0..2 {
            assert_eq!(decoder.decode(&mut buf), Err(ProtocolError::ReservedOpcode));
            buf.extend_from_slice(&masked(0x81, b"later"));
        }
        assert!(decoder.is_finished() && decoder.held_bytes() == 0);
    }

    #[test]
    fn what_is_logged_shows_no_content() {
        let text = Incoming::Text(Bytes::from_static(b"{\"type\":\"auth\",\"token\":\"secret\"}"));
        assert_eq!(format!("{text:?}"), "Text(32 bytes)");
    }
}
