use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, RateLimited};
use crate::ids::{MessageId, RoomId, UserId};
use crate::model::Message;
use crate::policy;
use crate::store::{AckTo, Done, Idempotency, NewMessage, Pending};
use crate::text::{ClientMessageId, Content};

/// A message as a client sends it.
#[derive(Debug, Clone)]
pub struct PostMessage {
    /// The room.
    pub room_id: RoomId,
    /// Its content.
    pub content: String,
    /// The sender's own id of the message.
    pub client_message_id: Option<String>,
    /// The author, if not the caller. Only for CLIENT tokens.
    pub author: Option<UserId>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Posts a message. Needs `write`, and membership unless privileged.
///
/// Rules that need no stored data are checked now, the others in the commit. The write is in the queue when this returns, so
/// messages are stored in the order in which they are posted. The message is published after the commit even if the caller is
/// cancelled.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`Error::RateLimited`]; from the pending write also [`Error::NotFound`],
/// [`Error::Conflict`] and [`Error::Unavailable`].
pub fn post_message(chat: &AppContext, caller: &Caller, post: PostMessage) -> Result<Pending<Done<Message>>, Error> {
    Ok(chat.store.submit(accept(chat, caller, post)?))
}

/// Posts a message like [`post_message`]. The outcome is acknowledged to `to`, unless this returns an error.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`Error::RateLimited`].
pub fn post_message_for(
    chat: &AppContext,
    caller: &Caller,
    post: PostMessage,
    to: impl FnOnce() -> AckTo,
) -> Result<(), Error> {
    let message = accept(chat, caller, post)?;
    chat.store.submit_for(message, to());
    Ok(())
}

fn accept(chat: &AppContext, caller: &Caller, post: PostMessage) -> Result<NewMessage, Error> {
    let author = post.author.unwrap_or(caller.user.id);
    let access = policy::may_append(caller, author, post.room_id)?;
    if author != caller.user.id || caller.acting {
        // This is logged at debug level, because some backends post every message for a user.
        let (by, by_token) = (caller.user.id, caller.token_id);
        tracing::debug!(target: "audit", action = "message.create", %by, %by_token, on_user = %author, "audit");
    }
    let content = Content::parse(post.content, &chat.limits)?;
    let client_message_id = post.client_message_id.map(|id| ClientMessageId::parse(id, &chat.limits)).transpose()?;
    let now = chat.clock.now();
    if !caller.may_name_others() {
        let taken = chat.post_rate.take(author, chat.clock.monotonic());
        taken.map_err(|wait| Error::RateLimited(RateLimited::Messages, wait))?;
    }
    Ok(NewMessage {
        id: MessageId::new(now),
        room_id: post.room_id,
        author,
        access,
        actor: caller.actor(),
        content,
        client_message_id,
        idempotency: post.idempotency,
        at: now,
    })
}
