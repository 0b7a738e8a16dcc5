//! WebSocket frames: JSON objects told apart by their `type`.

mod client;
mod lenient;
mod server;

pub use client::{ClientFrame, FrameError, FrameErrorKind, Incoming, encode_client_frame};
pub use server::{Ack, ErrorFrame, EventFrame, Hello, HelloLimits, NotRecovered, PreviousMessages, ServerFrame};
