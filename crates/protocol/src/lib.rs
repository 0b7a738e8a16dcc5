//! What goes over ChatSphere's wire: REST bodies, WebSocket frames, error and close codes, protocol version 1.
//!
//! Shared by the server, the Rust client and the load generator. No I/O and no rules. Fields and events may be added, never
//! renamed or removed; both sides ignore fields that they do not know.

pub mod close;
pub mod frames;
pub mod json;
pub mod rest;

/// The version of this protocol, told in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
