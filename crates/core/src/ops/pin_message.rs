use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::store::{Changed, PinChange};

/// Pins a message, or unpins it. Needs `write`, and to own the room, to moderate it, or to be privileged. It counts against the
/// rate limit of changes. If the message is pinned or unpinned already, nothing changes, and the call succeeds.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Conflict`], [`Error::RateLimited`], [`Error::QuotaExceeded`],
/// [`Error::Unavailable`].
pub async fn pin_message(
    chat: &AppContext,
    caller: &Caller,
    room_id: RoomId,
    message_id: MessageId,
    pinned: bool,
) -> Result<Changed, Error> {
    policy::may_pin(caller, room_id)?;
    chat.count_change(caller)?;
    let max = chat.limits.pins_per_room;
    let (by, actor, at) = (caller.user.id, caller.actor(), chat.clock.now());
    chat.store.submit(PinChange { room_id, message_id, pinned, max, by, actor, at }).await
}
