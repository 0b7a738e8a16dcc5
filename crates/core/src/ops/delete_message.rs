use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::store::{AckTo, Changed, MessageDeletion, Pending};

/// Deletes a message: it keeps its place without its contents, and can't be changed any more. Needs `delete`, and to be its
/// author and a member, or to own the room, to moderate it, or to be privileged. With `hard` it is deleted for good: nothing but
/// its number is left, and only the privileged may do that. It counts against the rate limit of changes. A message that is
/// deleted already stays as it is, and the call succeeds.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::RateLimited`]; from the pending write also [`Error::NotFound`] and [`Error::Unavailable`].
pub fn delete_message(
    chat: &AppContext,
    caller: &Caller,
    room_id: RoomId,
    message_id: MessageId,
    hard: bool,
) -> Result<Pending<Changed>, Error> {
    Ok(chat.store.submit(accept(chat, caller, room_id, message_id, hard)?))
}

/// Deletes a message like [`delete_message`], not for good. The outcome is acknowledged to `to`, unless this returns an error.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::RateLimited`].
pub fn delete_message_for(
    chat: &AppContext,
    caller: &Caller,
    room_id: RoomId,
    message_id: MessageId,
    to: impl FnOnce() -> AckTo,
) -> Result<(), Error> {
    let deletion = accept(chat, caller, room_id, message_id, false)?;
    chat.store.submit_for(deletion, to());
    Ok(())
}

fn accept(
    chat: &AppContext,
    caller: &Caller,
    room_id: RoomId,
    message_id: MessageId,
    hard: bool,
) -> Result<MessageDeletion, Error> {
    policy::may_delete(caller)?;
    policy::room_access(caller, room_id)?;
    if hard {
        policy::may_remove_messages(caller)?;
    }
    chat.count_change(caller)?;
    Ok(MessageDeletion { room_id, message_id, hard, by: caller.user.id, actor: caller.actor(), at: chat.clock.now() })
}
