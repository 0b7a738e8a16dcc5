use std::sync::Arc;

use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::RoomId;
use crate::policy;
use crate::seq::Seq;
use crate::shared::Shared;
use crate::store::{Access, EventsPage, History, HistoryRange};
use crate::turns::Turn;

/// A page of a room's messages, ascending. Needs `read`, and membership unless privileged. A page that was read from the
/// database is returned with its turn, which the caller keeps until the page is encoded.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::Unavailable`].
pub async fn read_history(
    chat: &AppContext,
    caller: &Caller,
    room: RoomId,
    range: HistoryRange,
    limit: usize,
) -> Result<(Arc<Shared<History>>, Option<Turn>), Error> {
    policy::may_read(caller)?;
    let access = policy::room_access(caller, room)?;
    if range == HistoryRange::Newest {
        return chat.pages.history(&*chat.store, room, access, limit, chat.turn(caller)).await;
    }
    let turn = chat.turn(caller).await?;
    let read = chat.store.history(room, access, range, limit).await?;
    Ok((Arc::new(Shared::new(read.page)), Some(turn)))
}

/// A room's durable events of all kinds after `after`, ascending. Needs `read`, and membership unless privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::Unavailable`].
pub async fn read_events(
    chat: &AppContext,
    caller: &Caller,
    room: RoomId,
    after: Seq,
    limit: usize,
) -> Result<EventsPage, Error> {
    policy::may_read(caller)?;
    chat.store.events_after(room, policy::room_access(caller, room)?, after, limit).await
}

/// Returns the caller's access for joining a room. Needs `read`. Each read that follows checks membership.
///
/// # Errors
/// [`Error::Forbidden`].
pub fn authorize_join(caller: &Caller, room: RoomId) -> Result<Access, Error> {
    policy::may_read(caller)?;
    Ok(policy::room_access(caller, room)?)
}
