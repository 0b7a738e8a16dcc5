//! Frames encoded once, whole, and shared by all who get them.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Event, Seq, UserId};
use chatsphere_net::websocket::FrameBuilder;
use serde::Serialize;

use crate::wire;

/// Encodes a frame, header included. `None` only if its type cannot be written as JSON, which would be a fault of ours.
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

/// A room's event, ready to be sent to many.
#[derive(Debug, Clone)]
pub struct EventBytes {
    /// Its number.
    pub seq: Seq,
    /// The whole WebSocket frame.
    pub frame: Bytes,
    /// Who ceased to be a member by it.
    pub departed: Option<UserId>,
}

impl EventBytes {
    /// Encodes an event. Should that ever fail, its frame is empty, so that the others keep their places.
    pub fn encode(event: &Arc<Event>) -> Self {
        let frame = encode(&wire::event(event)).unwrap_or_default();
        Self { seq: event.seq, frame, departed: event.departed() }
    }
}
