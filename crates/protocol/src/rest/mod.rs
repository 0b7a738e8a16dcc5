//! The bodies of REST calls, by resource.

mod health;
mod messages;
mod problem;
mod rooms;
mod tokens;
mod users;

pub use health::{BusState, Health, Ready};
pub use messages::{DeletedMessage, EditMessage, Message, MessageInRoom, MessageVersion, PostMessage, RemovedMessage, RoomRef};
pub use problem::{FieldError, Problem};
pub use rooms::{AddUser, Count, CreateRoom, Room, RoomWithUsers};
pub use tokens::{MintClientToken, MintUserToken, Minted, Permissions, Token};
pub use users::{
    ChangeProfile, ChangeUser, CreateUser, CreatedUser, Done, ExternalUser, Profile, ProfileChanged, PutExternalUser, User,
    UserRef, WantedToken,
};

pub use crate::signals::{SendSignal, Typing};
