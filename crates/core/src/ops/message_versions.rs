use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::store::{Changed, PageRequest, Versions, VersionsForgotten};

/// The versions of a message, newest first. Needs `read`, and to be its author, or to own the room, to moderate it, or to be
/// privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::Unavailable`].
pub async fn message_versions(
    chat: &AppContext,
    caller: &Caller,
    room: RoomId,
    message: MessageId,
    page: PageRequest,
) -> Result<Versions, Error> {
    policy::may_read(caller)?;
    let access = policy::room_access(caller, room)?;
    let versions = chat.store.message_versions(room, access, message, page).await?;
    let relation = chat.store.room_relation(room, caller.user.id).await?;
    policy::may_see_versions(caller, versions.author, relation)?;
    Ok(versions)
}

/// Erases the contents of a message's earlier versions; their numbers stay. Needs `delete`, and to be its author and a member,
/// or a CLIENT token. After that a retry with the message's `clientMessageId` is answered whatever its content, because the
/// first content is no longer known.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::RateLimited`], [`Error::Unavailable`].
pub async fn forget_versions(
    chat: &AppContext,
    caller: &Caller,
    room_id: RoomId,
    message_id: MessageId,
) -> Result<Changed, Error> {
    policy::may_delete(caller)?;
    policy::room_access(caller, room_id)?;
    chat.count_change(caller)?;
    let forgotten = VersionsForgotten { room_id, message_id, actor: caller.actor(), at: chat.clock.now() };
    chat.store.submit(forgotten).await
}
