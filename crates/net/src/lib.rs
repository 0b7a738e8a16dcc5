//! The network layer below ChatSphere's front doors, independent of chat: the listener for HTTP connections, and the server
//! side of the WebSocket protocol.

pub mod listener;
mod patience;
pub mod websocket;

pub use patience::{LATE, in_time};
