use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{RoomId, UserId};
use crate::policy;
use crate::store::{Done, Idempotency, MembershipChange, MembershipChanged, NewMember};

/// A member to add.
#[derive(Debug, Clone)]
pub struct AddMember {
    /// The room.
    pub room_id: RoomId,
    /// The user.
    pub user_id: UserId,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Adds a member. Adding an existing member changes nothing. Needs `write`, and to own the room, to moderate it, or to be
/// privileged.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::NotFound`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn add_member(chat: &AppContext, caller: &Caller, add: AddMember) -> Result<Done<MembershipChanged>, Error> {
    policy::token_adds_members(caller, add.room_id)?;
    chat.count_change(caller)?;
    let AddMember { room_id, user_id, idempotency } = add;
    let (by, actor) = (caller.user.id, caller.actor());
    let change = MembershipChange { room_id, user_id, by, actor, idempotency, at: chat.clock.now() };
    chat.store.submit(NewMember(change)).await
}
