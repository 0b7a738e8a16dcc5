use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::{Denial, Error};
use crate::ids::{RoomId, UserId};
use crate::model::Room;
use crate::policy;
use crate::store::{Done, Idempotency, NewRoom};
use crate::text::RoomName;

/// A room to make.
#[derive(Debug, Clone)]
pub struct CreateRoom {
    /// Its name.
    pub name: String,
    /// Its owner and first member, if not the caller. For CLIENT tokens alone.
    pub owner: Option<UserId>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Makes a room. Its owner becomes the first member: that joining is the room's event 1. Needs `write`, and a token that is
/// not bound to certain rooms.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Denied`], [`crate::Absent::User`], [`Error::RateLimited`], [`Error::Outage`].
pub async fn create_room(chat: &Chat, caller: &Caller, room: CreateRoom) -> Result<Done<Room>, Error> {
    policy::may_write(caller)?;
    if caller.permissions.rooms.is_some() {
        return Err(Denial::NeedsUnrestricted.into());
    }
    let owner = policy::acting_user(caller, room.owner)?;
    let name = RoomName::parse(room.name, &chat.limits)?;
    chat.count_change(caller)?;
    let at = chat.clock.now();
    // Made in the owner's name: a backend that makes a room for somebody is not itself in it.
    let new = NewRoom { id: RoomId::new(at), name, owner, by: owner, idempotency: room.idempotency, at };
    chat.store.create_room(new).await
}
