use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::RoomId;
use crate::policy;
use crate::store::{PageRequest, Pins};

/// A room's pinned messages, those that were pinned last first. Needs `read`, and membership unless privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::Unavailable`].
pub async fn list_pins(chat: &AppContext, caller: &Caller, room: RoomId, page: PageRequest) -> Result<Pins, Error> {
    policy::may_read(caller)?;
    chat.store.pins(room, policy::room_access(caller, room)?, page).await
}
