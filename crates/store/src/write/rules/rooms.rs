//! Creates rooms.

use chatsphere_core::store::{Done, NewRoom};
use chatsphere_core::{Error, NotFound, Room, Seq, policy};

use super::events::Occasion;
use super::members::joined;
use super::outcome::{earlier, keep};
use super::{Effects, Origin, Rule, WriteInfo, actor, is_new};
use crate::write::database::{RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

impl WriteInfo for NewRoom {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: None }
    }

    fn stored_bytes(&self) -> u64 {
        1_000
    }
}

impl Rule for NewRoom {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<Done<Room>, Stop> {
        if let Some(caller) = actor::caller(database, self.actor, self.at).await? {
            policy::may_create_room(&caller, self.owner)?;
        }
        if let Some(done) = earlier(database, self.idempotency.as_ref(), self.at).await? {
            return Ok(done);
        }
        let Some(owner) = database.find_user(self.owner).await? else {
            return refuse(Error::NotFound(NotFound::User));
        };
        let by = if self.by == self.owner {
            owner.clone()
        } else {
            match database.find_user(self.by).await? {
                Some(by) => by,
                None => return refuse(Error::NotFound(NotFound::User)),
            }
        };
        let mut room = Room {
            id: self.id,
            name: self.name.clone(),
            owner: self.owner,
            created_at: self.at,
            updated_at: self.at,
            seq: Seq::ZERO,
            message_count: 0,
            member_count: 0,
        };
        let pk = database.insert_room(&room, owner.pk).await?;
        let head = RoomHead { pk, seq: room.seq, has_removed: false };
        let occasion = Occasion { room_id: self.id, head, user: &owner, by: &by, message_pk: None, at: self.at };
        room.seq = occasion.add(database, joined, effects).await?;
        room.member_count = 1;
        Ok(keep(database, self.idempotency.as_ref(), room, self.at).await?)
    }

    fn stored(answer: &Done<Room>) -> bool {
        is_new(answer)
    }
}
