use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::RoomId;
use crate::model::Room;
use crate::policy;
use crate::store::{Members, PageRequest};

/// The number of members that are returned with a room.
pub const FIRST_MEMBERS: usize = 100;

/// A room and its first 100 members. The members are at least as new as the room. Needs `read`, and membership unless
/// privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::Unavailable`].
pub async fn read_room(chat: &AppContext, caller: &Caller, room: RoomId) -> Result<(Room, Members), Error> {
    policy::may_read(caller)?;
    let access = policy::room_access(caller, room)?;
    let members = chat.store.members(room, access, PageRequest { cursor: None, limit: FIRST_MEMBERS }).await?;
    Ok((chat.store.room(room, access).await?, members))
}

/// A room's members in the order in which they joined. Needs `read`, and membership unless privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::Unavailable`].
pub async fn list_members(chat: &AppContext, caller: &Caller, room: RoomId, page: PageRequest) -> Result<Members, Error> {
    policy::may_read(caller)?;
    chat.store.members(room, policy::room_access(caller, room)?, page).await
}
