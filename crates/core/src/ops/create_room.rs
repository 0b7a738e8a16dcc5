use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
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
/// [`Error::Invalid`], [`Error::Forbidden`], [`crate::NotFound::User`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn create_room(chat: &AppContext, caller: &Caller, room: CreateRoom) -> Result<Done<Room>, Error> {
    let owner = room.owner.unwrap_or(caller.user.id);
    policy::may_create_room(caller, owner)?;
    let name = RoomName::parse(room.name, &chat.limits)?;
    chat.count_change(caller)?;
    let at = chat.clock.now();
    // Made in the owner's name: a backend that makes a room for somebody is not itself in it.
    let (id, by, actor) = (RoomId::new(at), owner, caller.actor());
    let new = NewRoom { id, name, owner, by, actor, idempotency: room.idempotency, at };
    chat.store.submit(new).await
}
