use super::act_as;
use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::{ConnectionId, MessageId, UserId};
use crate::policy;
use crate::seq::Seq;
use crate::signal::{Signal, SignalKind, Topic};

/// A signal to a room, from a client.
#[derive(Debug, Clone)]
pub struct SendSignal {
    /// The signal, with its room.
    pub kind: SignalKind,
    /// The user who sends it, if not the caller. Only for CLIENT tokens.
    pub user: Option<UserId>,
    /// The connection that sends it, if there is one.
    pub from: Option<ConnectionId>,
}

/// Signals to a room's connections, for example that a user is typing. Needs `write`, and membership unless privileged.
///
/// The store checks the rights on each call. Returns the number of the room's newest event at that time. A typing signal
/// that is repeated within 2.5 s is not sent again, even for another thread.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::RateLimited`], [`Error::Unavailable`].
pub async fn signal(chat: &AppContext, caller: &Caller, signal: SendSignal) -> Result<Seq, Error> {
    let SendSignal { kind, user, from } = signal;
    let caller = act_as(chat, caller, user).await?;
    let room_id = kind.room_id().ok_or_else(|| policy::no_such_room(&caller))?;
    let access = policy::may_append(&caller, caller.user.id, room_id)?;
    let now = chat.clock.monotonic();
    if !caller.may_name_others() {
        chat.signal_rate.count(caller.user.id, &kind, now)?;
    }
    let head = chat.store.room_version(room_id, access).await?.head;
    let topic = Topic::Room(room_id);
    if !chat.signal_rate.is_repeated(caller.user.id, topic, &kind, now) {
        chat.signals.signal(Signal { topic, user: caller.user.clone(), from, after: head, kind });
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
