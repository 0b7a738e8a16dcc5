use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::UserId;
use crate::model::MessageInRoom;
use crate::policy;
use crate::store::{MessageFilter, Page, PageRequest};

/// All messages of all rooms, newest first. Needs `read` and a CLIENT or ADMIN token.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Unavailable`].
pub async fn all_messages(chat: &AppContext, caller: &Caller, page: PageRequest) -> Result<Page<MessageInRoom>, Error> {
    policy::may_read(caller)?;
    policy::require_privileged(caller)?;
    let rooms = caller.permissions.rooms.clone();
    chat.store.messages(MessageFilter { author: None, seen_by: None, rooms }, page).await
}

/// A user's messages, newest first, in the rooms that the caller may read. Needs `read`, and to be that user or privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`NotFound::User`] for privileged callers, [`Error::Unavailable`].
pub async fn messages_of_user(
    chat: &AppContext,
    caller: &Caller,
    user: UserId,
    page: PageRequest,
) -> Result<Page<MessageInRoom>, Error> {
    policy::may_read(caller)?;
    policy::may_see_user(caller, user)?;
    if !caller.is(user) && chat.store.user(user).await?.is_none() {
        return Err(Error::NotFound(NotFound::User));
    }
    // A former member may not read the room, nor its own messages in it.
    let seen_by = (!caller.is_privileged()).then_some(caller.user.id);
    let rooms = caller.permissions.rooms.clone();
    chat.store.messages(MessageFilter { author: Some(user), seen_by, rooms }, page).await
}
