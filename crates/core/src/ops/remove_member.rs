use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{RoomId, UserId};
use crate::policy;
use crate::store::{MemberRemoval, MembershipChange, MembershipChanged};

/// A member to remove.
#[derive(Debug, Clone, Copy)]
pub struct RemoveMember {
    /// The room.
    pub room_id: RoomId,
    /// The user.
    pub user_id: UserId,
}

/// Removes a member, or leaves the room. Removing a user who is not a member changes nothing. Needs `delete` (to leave:
/// `write`), and to own the room, to moderate it, to be that user, or to be privileged. A moderator can't remove the owner.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Room`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn remove_member(
    chat: &AppContext,
    caller: &Caller,
    remove: RemoveMember,
) -> Result<MembershipChanged, Error> {
    let RemoveMember { room_id, user_id } = remove;
    policy::token_removes_member(caller, room_id, user_id)?;
    chat.count_change(caller)?;
    let (by, actor) = (caller.user.id, caller.actor());
    let change = MembershipChange { room_id, user_id, by, actor, idempotency: None, at: chat.clock.now() };
    Ok(chat.store.submit(MemberRemoval(change)).await?.value)
}
