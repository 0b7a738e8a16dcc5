//! The use cases, one a file. Every front door (REST, WebSocket, command line) calls them, so that each rule exists once.
//!
//! Each op's docs name the permission that a token needs for it.

mod act_as;
mod add_member;
mod audited;
mod bootstrap;
mod change_profile;
mod change_user;
mod create_room;
mod create_user;
mod delete_message;
mod edit_message;
mod list_messages;
mod list_pins;
mod list_rooms;
mod list_tokens;
mod list_users;
mod message_versions;
mod mint_token;
mod pin_message;
mod post_message;
mod put_external_user;
mod read_history;
mod read_message;
mod read_room;
mod read_user;
mod remove_member;
mod revoke_token;
mod signal;

pub use act_as::act_as;
pub use add_member::AddMember;
pub use audited::{
    add_member, change_user, create_room, create_user, mint_client_token, mint_user_token, put_external_user, remove_member,
    rename_and_change_user, revoke_token,
};
pub use bootstrap::{FIRST_ADMIN, FIRST_EMAIL, bootstrap};
pub use change_profile::change_profile;
pub use change_user::ChangeUser;
pub use create_room::CreateRoom;
pub use create_user::CreateUser;
pub use delete_message::{delete_message, delete_message_for};
pub use edit_message::{EditMessage, edit_message, edit_message_for};
pub use list_messages::{all_messages, messages_of_user};
pub use list_pins::list_pins;
pub use list_rooms::list_rooms;
pub use list_tokens::list_tokens;
pub use list_users::list_users;
pub use message_versions::{forget_versions, message_versions};
pub use mint_token::{MintClientToken, MintUserToken};
pub use pin_message::pin_message;
pub use post_message::{PostMessage, post_message, post_message_for};
pub use put_external_user::{PutExternalUser, WantedToken};
pub use read_history::{authorize_join, read_events, read_history};
pub use read_message::read_message;
pub use read_room::{FIRST_MEMBERS, list_members, read_room};
pub use read_user::{find_user, read_user};
pub use remove_member::RemoveMember;
pub use signal::{SendSignal, parent_id, signal};

use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::{MessageId, RoomId, TokenId, UserId};
use crate::policy;

/// Parses a room's id as the caller sent it.
///
/// # Errors
/// An id that is not a UUID gives the error of a room that does not exist: [`NotFound::Room`] for callers who see every room,
/// `not_a_member` for all others.
pub fn room_id(caller: &Caller, text: &str) -> Result<RoomId, Error> {
    text.parse().map_err(|_| policy::no_such_room(caller))
}

/// Parses a message's id as the caller sent it. One that is not a UUID becomes the nil UUID, which no message has: the caller's
/// access to the room is judged first, as for every other id.
pub fn message_id(text: &str) -> MessageId {
    text.parse().unwrap_or_else(|_| MessageId::from_bytes([0; 16]))
}

/// Parses a user's id as the caller sent it.
///
/// # Errors
/// [`NotFound::User`] for an id that is not a UUID.
pub fn user_id(text: &str) -> Result<UserId, Error> {
    text.parse().map_err(|_| Error::NotFound(NotFound::User))
}

/// Parses a token's id as the caller sent it.
///
/// # Errors
/// An id that is not a UUID gives the error of a token that does not exist.
pub fn token_id(caller: &Caller, text: &str) -> Result<TokenId, Error> {
    text.parse().map_err(|_| policy::no_such_token(caller))
}
