//! Beginning and ending memberships.

use std::sync::Arc;

use chatsphere_core::store::{Done, MembershipChange, MembershipChanged};
use chatsphere_core::{Absent, Error, Event, EventKind, RoomId, Seq, Timestamp, User, UserRef, policy};

use super::outcome::{earlier, keep};
use super::{Effects, actor};
use crate::write::database::{Keyed, MembershipKind, MembershipRow, RoomHead, WriteDatabase};
use crate::write::failure::{Failure, Stop, refuse};

pub(super) async fn add<D: WriteDatabase>(
    database: &mut D,
    change: &MembershipChange,
    effects: &mut Effects,
) -> Result<Done<MembershipChanged>, Stop> {
    if let Some(caller) = actor::caller(database, change.actor, change.at).await? {
        let standing = database.standing(change.room_id, caller.user.id).await?;
        policy::may_add_members(&caller, change.room_id, standing)?;
    }
    if let Some(done) = earlier(database, change.idempotency.as_ref(), change.at).await? {
        return Ok(done);
    }
    let head = room(database, change).await?;
    let Some(user) = database.find_user(change.user_id).await? else {
        return refuse(Error::Absent(Absent::User));
    };
    let changed = if database.is_member(head.pk, user.pk).await? {
        MembershipChanged::NotNeeded
    } else {
        make(database, change, head, MembershipKind::Joined, &user, effects).await?
    };
    Ok(keep(database, change.idempotency.as_ref(), changed, change.at).await?)
}

pub(super) async fn remove<D: WriteDatabase>(
    database: &mut D,
    change: &MembershipChange,
    effects: &mut Effects,
) -> Result<Done<MembershipChanged>, Stop> {
    if let Some(caller) = actor::caller(database, change.actor, change.at).await? {
        let standing = database.standing(change.room_id, caller.user.id).await?;
        policy::may_remove_member(&caller, change.room_id, standing, change.user_id)?;
    }
    if let Some(done) = earlier(database, change.idempotency.as_ref(), change.at).await? {
        return Ok(done);
    }
    let head = room(database, change).await?;
    let changed = match database.find_user(change.user_id).await? {
        Some(user) if database.is_member(head.pk, user.pk).await? => {
            make(database, change, head, MembershipKind::Left, &user, effects).await?
        }
        _ => MembershipChanged::NotNeeded,
    };
    Ok(keep(database, change.idempotency.as_ref(), changed, change.at).await?)
}

async fn room<D: WriteDatabase>(database: &mut D, change: &MembershipChange) -> Result<RoomHead, Stop> {
    match database.find_room(change.room_id).await? {
        Some(head) => Ok(head),
        None => refuse(Error::Absent(Absent::Room)),
    }
}

async fn make<D: WriteDatabase>(
    database: &mut D,
    change: &MembershipChange,
    head: RoomHead,
    kind: MembershipKind,
    user: &Keyed<User>,
    effects: &mut Effects,
) -> Result<MembershipChanged, Stop> {
    let Some(by) = database.find_user(change.by).await? else {
        return refuse(Error::Absent(Absent::User));
    };
    let membership = Membership { room_id: change.room_id, head, kind, user, by: &by, at: change.at };
    Ok(MembershipChanged::At(record(database, membership, effects).await?))
}

/// A membership that is to begin or end.
pub(super) struct Membership<'a> {
    pub(super) room_id: RoomId,
    /// The room as it is before.
    pub(super) head: RoomHead,
    pub(super) kind: MembershipKind,
    pub(super) user: &'a Keyed<User>,
    pub(super) by: &'a Keyed<User>,
    pub(super) at: Timestamp,
}

/// Writes the change as the room's next event.
pub(super) async fn record<D: WriteDatabase>(
    database: &mut D,
    membership: Membership<'_>,
    effects: &mut Effects,
) -> Result<Seq, Failure> {
    let Membership { room_id, head, kind, user, by, at } = membership;
    let seq = head.seq.next();
    let row = MembershipRow { room_pk: head.pk, seq, kind, user_pk: user.pk, by_pk: by.pk, at };
    database.change_membership(&row).await?;
    let (user, by) = (UserRef::from(&user.value), UserRef::from(&by.value));
    let kind = match kind {
        MembershipKind::Joined => EventKind::MemberJoined { user, by },
        MembershipKind::Left => EventKind::MemberLeft { user, by },
    };
    effects.events.push(Arc::new(Event { room_id, seq, at, kind }));
    Ok(seq)
}
