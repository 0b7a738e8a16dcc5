//! ChatSphere's wire protocol, version 1: REST bodies, WebSocket frames, error and close codes.
//!
//! Shared by the server, the Rust client, and the tools that test them. No I/O and no rules. Later versions may add fields and
//! events, but rename or remove none. Both sides ignore unknown fields, and clients accept unknown values ([`Open`]).

pub mod close;
pub mod frames;
pub mod json;
mod open;
pub mod rest;
mod signals;

pub use open::Open;

/// The version of this protocol, which `hello` contains.
pub const PROTOCOL_VERSION: u32 = 1;
