use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::store::MessageRead;

/// A message in its current state. Needs `read`, and membership unless privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Unavailable`].
pub async fn read_message(chat: &AppContext, caller: &Caller, room: RoomId, message: MessageId) -> Result<MessageRead, Error> {
    policy::may_read(caller)?;
    chat.store.message(room, policy::room_access(caller, room)?, message).await
}
