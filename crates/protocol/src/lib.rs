//! What goes over ChatSphere's wire: REST bodies, WebSocket frames, error and close codes, protocol version 1.
//!
//! Shared by the server, the Rust client and the load generator. No I/O and no rules. Fields, events and values may be added,
//! never renamed or removed; both sides ignore fields that they do not know, and clients accept unknown values ([`Open`]).

pub mod close;
pub mod frames;
pub mod json;
mod open;
pub mod rest;

pub use open::Open;

/// The version of this protocol, told in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
