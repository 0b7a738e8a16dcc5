use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{RoomId, UserId};
use crate::model::Room;
use crate::policy;
use crate::store::{Done, Idempotency, NewRoom};
use crate::text::RoomName;

/// A room to create.
#[derive(Debug, Clone)]
pub struct CreateRoom {
    /// The name.
    pub name: String,
    /// The owner and first member, if not the caller. Only for CLIENT tokens.
    pub owner: Option<UserId>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Creates a room. Its owner becomes the first member, which is the room's event 1. Needs `write`, and a token that is not
/// restricted to certain rooms.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`crate::NotFound::User`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn create_room(chat: &AppContext, caller: &Caller, room: CreateRoom) -> Result<Done<Room>, Error> {
    let owner = room.owner.unwrap_or(caller.user.id);
    policy::may_create_room(caller, owner)?;
    let name = RoomName::parse(room.name, &chat.limits)?;
    chat.count_change(caller)?;
    let at = chat.clock.now();
    // `by` is the owner too: a backend that creates a room for somebody is not in it.
    let (id, by, actor) = (RoomId::new(at), owner, caller.actor());
    let new = NewRoom { id, name, owner, by, actor, idempotency: room.idempotency, at };
    chat.store.submit(new).await
}
