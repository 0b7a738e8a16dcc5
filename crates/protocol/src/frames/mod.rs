//! WebSocket frames: JSON objects with a `type`.

mod client;
mod event;
mod fields;
mod lenient;
mod schema;
mod server;

pub use client::{ClientFrame, FrameError, FrameErrorKind, Incoming, encode_client_frame};
pub use event::{AboutDeleted, AboutMessage, EventFrame, EventKind};
pub use schema::frames_schema;
pub use server::{Ack, ErrorFrame, Hello, HelloLimits, NotRecovered, PreviousMessages, ServerFrame};

pub use crate::signals::SignalFrame;
