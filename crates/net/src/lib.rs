//! What is beneath ChatSphere's front doors and knows nothing of chat: the listener for HTTP connections, and the server's half
//! of the WebSocket protocol.

pub mod listener;
mod patience;
pub mod websocket;

pub use patience::{LATE, in_time};
