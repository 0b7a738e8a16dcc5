//! Decoding any bytes gives one result within the limits, whatever the pieces in which they arrive.

#![no_main]

use bytes::BytesMut;
use chatsphere_net::websocket::{Decoder, Incoming, MAX_CONTROL_PAYLOAD, ProtocolError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [piece, limit, bytes @ ..] = input else { return };
    // Small limits, so that short inputs reach them.
    let max = usize::from(*limit) * 2;
    let whole = decode(bytes, bytes.len().max(1), max);
    let pieces = decode(bytes, usize::from(*piece).max(1), max);
    assert_eq!(whole, pieces);
});

fn decode(bytes: &[u8], piece: usize, max: usize) -> (Vec<Incoming>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(max);
    let mut buf = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            let decoded = decoder.decode(&mut buf);
            assert!(decoder.held_bytes() <= max);
            match decoded {
                Ok(Some(message)) => {
                    check(&message, max);
                    messages.push(message);
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(decoder.is_finished() && buf.is_empty());
                    return (messages, Some(error));
                }
            }
        }
        assert!(buf.len() < max.max(MAX_CONTROL_PAYLOAD) + 14);
    }
    (messages, None)
}

fn check(message: &Incoming, max: usize) {
    match message {
        Incoming::Text(data) => assert!(data.len() <= max && std::str::from_utf8(data).is_ok()),
        Incoming::Binary(data) => assert!(data.len() <= max),
        Incoming::Ping(data) | Incoming::Pong(data) => assert!(data.len() <= MAX_CONTROL_PAYLOAD),
        Incoming::Close { reason, .. } => assert!(reason.len() <= MAX_CONTROL_PAYLOAD - 2),
    }
}
