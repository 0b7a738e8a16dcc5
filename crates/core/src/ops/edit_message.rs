use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, RateLimited};
use crate::ids::{MessageId, RoomId};
use crate::policy;
use crate::seq::Version;
use crate::store::{AckTo, Changed, MessageEdit, Pending};
use crate::text::Content;

/// An edit of a message, as a client sends it.
#[derive(Debug, Clone)]
pub struct EditMessage {
    /// The room.
    pub room_id: RoomId,
    /// The message.
    pub message_id: MessageId,
    /// The new content.
    pub content: String,
    /// The version on which the edit is based. If the message has a later version, the edit fails.
    pub if_version: Option<Version>,
}

/// Replaces a message's content. Needs `write`, and to be its author and a member, an ADMIN who is its author, or a CLIENT
/// token. It counts against the rate limit of messages. An edit with the current content changes nothing and succeeds.
/// The oldest version is dropped when there are too many.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`Error::RateLimited`]; from the pending write also [`Error::NotFound`],
/// [`Error::Conflict`] and [`Error::Unavailable`].
pub fn edit_message(chat: &AppContext, caller: &Caller, edit: EditMessage) -> Result<Pending<Changed>, Error> {
    Ok(chat.store.submit(accept(chat, caller, edit)?))
}

/// Edits a message like [`edit_message`]. The outcome is acknowledged to `to`, unless this returns an error.
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
    let max_versions = chat.limits.message_versions;
    Ok(MessageEdit { room_id, message_id, content, if_version, max_versions, by, actor, at })
}
