use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, RateLimited};
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::seq::Version;
use crate::store::{AckTo, Changed, MessageEdit, Pending};
use crate::text::Content;

/// What a client changes of a message.
#[derive(Debug, Clone)]
pub struct EditMessage {
    /// Where.
    pub room_id: RoomId,
    /// Which.
    pub message_id: MessageId,
    /// What it says from now on.
    pub content: String,
    /// The version that the change was made for: refused if there is a later one.
    pub if_version: Option<Version>,
}

/// Changes what a message says. Needs `write`, and to be its author (a member, or an ADMIN), or a CLIENT token. It counts as a
/// message for the rate. A change to what it says already changes nothing and is answered the same.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`Error::RateLimited`]; from the pending write also [`Error::NotFound`],
/// [`Error::Conflict`] and [`Error::Unavailable`].
pub fn edit_message(chat: &AppContext, caller: &Caller, edit: EditMessage) -> Result<Pending<Changed>, Error> {
    Ok(chat.store.submit(accept(chat, caller, edit)?))
}

/// Changes a message like [`edit_message`]; it is acknowledged to `to`, unless it is refused now.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`Error::RateLimited`].
pub fn edit_message_for(
    chat: &AppContext,
    caller: &Caller,
    edit: EditMessage,
    to: impl FnOnce() -> AckTo,
) -> Result<(), Error> {
    let edit = accept(chat, caller, edit)?;
    chat.store.submit_for(edit, to());
    Ok(())
}

fn accept(chat: &AppContext, caller: &Caller, edit: EditMessage) -> Result<MessageEdit, Error> {
    let EditMessage { room_id, message_id, content, if_version } = edit;
    policy::may_edit(caller, room_id)?;
    let content = Content::parse(content, &chat.limits)?;
    if !caller.may_name_others() {
        let taken = chat.post_rate.take(caller.user.id, chat.clock.monotonic());
        taken.map_err(|wait| Error::RateLimited(RateLimited::Messages, wait))?;
    }
    let (by, actor, at) = (caller.user.id, caller.actor(), chat.clock.now());
    Ok(MessageEdit { room_id, message_id, content, if_version, by, actor, at })
}
