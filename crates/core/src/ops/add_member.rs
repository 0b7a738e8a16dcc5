use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::{Denial, Error};
use crate::ids::{RoomId, UserId};
use crate::policy;
use crate::store::{Done, Idempotency, MembershipChange, MembershipChanged};

/// A member to add.
#[derive(Debug, Clone)]
pub struct AddMember {
    /// Where.
    pub room_id: RoomId,
    /// Whom.
    pub user_id: UserId,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Adds a member; once in, adding again changes nothing. Needs `write`, and to own the room, to moderate it, or to be
/// privileged.
///
/// # Errors
/// [`Error::Denied`], [`Error::Absent`], [`Error::RateLimited`], [`Error::Outage`].
pub async fn add_member(chat: &Chat, caller: &Caller, add: AddMember) -> Result<Done<MembershipChanged>, Error> {
    policy::may_write(caller)?;
    if !caller.permissions.covers_room(add.room_id) {
        return Err(Denial::NotAMember.into());
    }
    chat.count_change(caller)?;
    let standing = chat.store.standing(add.room_id, caller.user.id).await?;
    policy::may_add_members(caller, standing)?;
    let AddMember { room_id, user_id, idempotency } = add;
    chat.store.add_member(MembershipChange { room_id, user_id, by: caller.user.id, idempotency, at: chat.clock.now() }).await
}
