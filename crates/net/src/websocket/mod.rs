//! The server's half of the WebSocket protocol (RFC 6455), without any I/O.
//!
//! Bytes go in and messages come out, messages go in and bytes come out; who reads and writes the socket is not known
//! here. That is what lets one encoded frame be shared by all of its recipients and lets an idle connection cost no
//! more than the [`Decoder`] itself. Extensions are never negotiated, so the reserved bits must always be clear.

mod close;
mod encode;
mod error;
mod frame;
pub mod handshake;
mod message;

pub use close::CloseCode;
pub use encode::{FrameBuilder, close, close_echo, ping, pong, text_frame};
pub use error::ProtocolError;
pub use message::{DEFAULT_MAX_FRAME, Decoder, Frames, Incoming};

/// The longest payload of a ping, pong or close frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;
