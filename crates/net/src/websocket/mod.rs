//! The server side of the WebSocket protocol (RFC 6455), without I/O.
//!
//! The codec converts bytes to messages and messages to bytes; the caller reads and writes the socket. Therefore all recipients
//! can share one encoded frame, and an idle connection costs only the [`Decoder`]. Extensions are never negotiated, so the
//! reserved bits must be zero.

mod close;
mod encode;
mod error;
mod frame;
pub mod handshake;
mod message;

pub use close::is_close_code;
pub use encode::{FrameBuilder, close, close_echo, ping, pong, text_frame};
pub use error::ProtocolError;
pub use message::{DEFAULT_MAX_FRAME, Decoder, Frames, Incoming};

/// Maximum payload of a ping, pong or close frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
