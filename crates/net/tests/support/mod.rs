//! A naive, independent encoder of client frames.

use bytes::BytesMut;
use chatsphere_net::websocket::{Decoder, Incoming, MAX_CONTROL_PAYLOAD, ProtocolError};

/// A client's frame: `first` holds FIN, the reserved bits and the opcode.
pub(crate) fn client_frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

/// The decoded messages, and the error that ended decoding, if any.
pub(crate) type Decoded = (Vec<Incoming>, Option<ProtocolError>);

/// Decodes `bytes` in chunks of these sizes, repeated.
pub(crate) fn decode_in_chunks(bytes: &[u8], max: usize, sizes: &[usize]) -> Decoded {
    let mut decoder = Decoder::new(max);
    let mut buf = BytesMut::new();
    let mut messages = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at(rest.len().min((*size).max(1)));
        rest = after;
        buf.extend_from_slice(chunk);
        loop {
            let decoded = decoder.decode(&mut buf);
            assert!(decoder.held_bytes() <= max, "{} bytes held", decoder.held_bytes());
            match decoded {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(buf.len() < max.max(MAX_CONTROL_PAYLOAD) + 14, "a whole frame was left lying");
        if rest.is_empty() {
            break;
        }
    }
    (messages, None)
}
