use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::model::Room;
use crate::policy;
use crate::store::{Page, PageRequest, RoomFilter};

/// Rooms in the order of their creation, within the token's rooms: for privileged callers all, for others those that they are
/// members of. Needs `read`.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Unavailable`].
pub async fn list_rooms(chat: &AppContext, caller: &Caller, page: PageRequest) -> Result<Page<Room>, Error> {
    policy::may_read(caller)?;
    let member = (!caller.is_privileged()).then_some(caller.user.id);
    chat.store.rooms(RoomFilter { member, rooms: caller.permissions.rooms.clone() }, page).await
}
