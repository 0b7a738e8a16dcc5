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

/// A user's own messages, newest first, in the rooms that the caller sees. Needs `read`, and to be that user or privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`NotFound::User`] to the privileged, [`Error::Unavailable`].
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
    // Former members may read none of a room, their own words in it included.
    let seen_by = (!caller.is_privileged()).then_some(caller.user.id);
    let rooms = caller.permissions.rooms.clone();
    chat.store.messages(MessageFilter { author: Some(user), seen_by, rooms }, page).await
}
