//! Encodes frames once; all recipients share the bytes.

use bytes::Bytes;
use chatsphere_core::{Event, Seq, UserId};
use chatsphere_net::websocket::FrameBuilder;
use serde::Serialize;

use crate::wire;

/// Encodes a frame with its WebSocket header. `None` only if the type cannot be serialised, which would be a bug.
pub fn encode(frame: &impl Serialize) -> Option<Bytes> {
    let mut builder = FrameBuilder::with_capacity(512);
    match serde_json::to_writer(&mut builder, frame) {
        Ok(()) => Some(builder.finish()),
        Err(error) => {
            tracing::error!(%error, "a frame could not be encoded");
            None
        }
    }
}

/// An encoded event of a room.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    /// Its `seq`.
    pub seq: Seq,
    /// The complete WebSocket frame.
    pub frame: Bytes,
    /// The user whose membership it ends.
    pub departed: Option<UserId>,
}

impl EncodedEvent {
    /// Encodes an event. If encoding fails, the frame is empty, because frames are found by their position.
    pub fn encode(event: &Event) -> Self {
        let frame = encode(&wire::event(event)).unwrap_or_default();
        Self { seq: event.seq, frame, departed: event.departed() }
    }
}
