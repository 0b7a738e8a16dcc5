use super::act_as;
use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::{MessageId, RoomId, UserId};
use crate::policy;
use crate::seq::Seq;
use crate::signal::{Signal, SignalKind, Topic};

/// A typing signal from a client.
#[derive(Debug, Clone)]
pub struct Typing {
    /// The room.
    pub room_id: RoomId,
    /// The message in whose thread the user types.
    pub parent_id: Option<MessageId>,
    /// Whether the user types or has stopped.
    pub on: bool,
    /// The user, if not the caller. Only for CLIENT tokens.
    pub user: Option<UserId>,
}

/// Signals to the room's other members that a user is typing, or has stopped. Needs `write`, and membership unless privileged.
///
/// The store checks the rights on each call. Returns the number of the room's newest event at that time. A signal that is
/// repeated within 2.5 s is not sent again, even for another thread.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::RateLimited`], [`Error::Unavailable`].
pub async fn typing(chat: &AppContext, caller: &Caller, typing: Typing) -> Result<Seq, Error> {
    let Typing { room_id, parent_id, on, user } = typing;
    let caller = act_as(chat, caller, user).await?;
    let access = policy::may_append(&caller, caller.user.id, room_id)?;
    let now = chat.clock.monotonic();
    if !caller.may_name_others() {
        chat.signal_rate.count(caller.user.id, now)?;
    }
    let head = chat.store.room_version(room_id, access).await?.head;
    let topic = Topic::Room(room_id);
    if !chat.signal_rate.is_repeated(caller.user.id, topic, on, now) {
        let kind = SignalKind::Typing { room_id, parent_id, on };
        chat.signals.signal(Signal { topic, user: caller.user.clone(), after: head, kind });
    }
    Ok(head)
}

/// Parses the id of a thread's parent message as the caller sent it.
///
/// # Errors
/// [`NotFound::Parent`] for an id that is not a UUID.
pub fn parent_id(text: &str) -> Result<MessageId, Error> {
    text.parse().map_err(|_| Error::NotFound(NotFound::Parent))
}
