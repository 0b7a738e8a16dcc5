//! Begins and ends memberships.

use chatsphere_core::store::{Done, MemberRemoval, MembershipChange, MembershipChanged, NewMember};
use chatsphere_core::{Error, EventKind, NotFound, User, UserRef, policy};

use super::events::Occasion;
use super::outcome::{earlier, keep};
use super::{Effects, Origin, Rule, WriteInfo, actor, is_new};
use crate::write::database::{Keyed, RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

impl WriteInfo for NewMember {
    fn origin(&self) -> Origin {
        Origin { actor: self.0.actor, at: self.0.at, room: Some(self.0.room_id) }
    }

    fn stored_bytes(&self) -> u64 {
        400
    }
}

impl Rule for NewMember {
    async fn carry_out<D: WriteDatabase>(
        &self,
        database: &mut D,
        effects: &mut Effects,
    ) -> Result<Done<MembershipChanged>, Stop> {
        let change = &self.0;
        if let Some(caller) = actor::caller(database, change.actor, change.at).await? {
            let relation = database.room_relation(change.room_id, caller.user.id).await?;
            policy::may_add_members(&caller, change.room_id, relation)?;
        }
        if let Some(done) = earlier(database, change.idempotency.as_ref(), change.at).await? {
            return Ok(done);
        }
        let head = room(database, change).await?;
        let Some(user) = database.find_user(change.user_id).await? else {
            return refuse(Error::NotFound(NotFound::User));
        };
        let changed = if database.is_member(head.pk, user.pk).await? {
            MembershipChanged::NotNeeded(head.seq)
        } else {
            record(database, change, head, &user, joined, effects).await?
        };
        Ok(keep(database, change.idempotency.as_ref(), changed, change.at).await?)
    }

    fn stored(answer: &Done<MembershipChanged>) -> bool {
        is_new(answer) && matches!(answer.value, MembershipChanged::At(_))
    }
}

impl WriteInfo for MemberRemoval {
    fn origin(&self) -> Origin {
        Origin { actor: self.0.actor, at: self.0.at, room: Some(self.0.room_id) }
    }

    fn stored_bytes(&self) -> u64 {
        0
    }
}

impl Rule for MemberRemoval {
    async fn carry_out<D: WriteDatabase>(
        &self,
        database: &mut D,
        effects: &mut Effects,
    ) -> Result<Done<MembershipChanged>, Stop> {
        let change = &self.0;
        if let Some(caller) = actor::caller(database, change.actor, change.at).await? {
            let relation = database.room_relation(change.room_id, caller.user.id).await?;
            policy::may_remove_member(&caller, change.room_id, relation, change.user_id)?;
        }
        if let Some(done) = earlier(database, change.idempotency.as_ref(), change.at).await? {
            return Ok(done);
        }
        let head = room(database, change).await?;
        let changed = match database.find_user(change.user_id).await? {
            Some(user) if database.is_member(head.pk, user.pk).await? => {
                record(database, change, head, &user, left, effects).await?
            }
            _ => MembershipChanged::NotNeeded(head.seq),
        };
        Ok(keep(database, change.idempotency.as_ref(), changed, change.at).await?)
    }

    fn stored(answer: &Done<MembershipChanged>) -> bool {
        is_new(answer) && matches!(answer.value, MembershipChanged::At(_))
    }
}

async fn room<D: WriteDatabase>(database: &mut D, change: &MembershipChange) -> Result<RoomHead, Stop> {
    match database.find_room(change.room_id).await? {
        Some(head) => Ok(head),
        None => refuse(Error::NotFound(NotFound::Room)),
    }
}

/// Adds the event of the membership's beginning or end.
async fn record<D: WriteDatabase>(
    database: &mut D,
    change: &MembershipChange,
    head: RoomHead,
    user: &Keyed<User>,
    kind: fn(UserRef, UserRef) -> EventKind,
    effects: &mut Effects,
) -> Result<MembershipChanged, Stop> {
    let Some(by) = database.find_user(change.by).await? else {
        return refuse(Error::NotFound(NotFound::User));
    };
    let occasion = Occasion { room_id: change.room_id, head, user, by: &by, message_pk: None, at: change.at };
    Ok(MembershipChanged::At(occasion.add(database, kind, effects).await?))
}

/// Makes the event of a user who becomes a member.
pub(super) fn joined(user: UserRef, by: UserRef) -> EventKind {
    EventKind::MemberJoined { user, by }
}

fn left(user: UserRef, by: UserRef) -> EventKind {
    EventKind::MemberLeft { user, by }
}
