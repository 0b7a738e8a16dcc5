//! The small types that the rules (`core`) and the wire (`protocol`) have in common. No rules, no I/O.

pub mod ids;
mod role;
pub mod seq;
mod timestamp;
mod token_type;

pub use ids::{ConnectionId, Id, InvalidId, MessageId, RoomId, TokenId, UserId};
pub use role::Role;
pub use seq::{Epoch, Seq, Version};
pub use timestamp::Timestamp;
pub use token_type::TokenType;
