//! Making rooms.

use chatsphere_core::store::{Done, NewRoom};
use chatsphere_core::{Absent, Error, Room, Seq, policy};

use super::events::Occasion;
use super::members::joined;
use super::outcome::{earlier, keep};
use super::{Effects, actor};
use crate::write::database::{RoomHead, WriteDatabase};
use crate::write::failure::{Stop, refuse};

pub(super) async fn create<D: WriteDatabase>(
    database: &mut D,
    new: &NewRoom,
    effects: &mut Effects,
) -> Result<Done<Room>, Stop> {
    if let Some(caller) = actor::caller(database, new.actor, new.at).await? {
        policy::may_create_room(&caller, new.owner)?;
    }
    if let Some(done) = earlier(database, new.idempotency.as_ref(), new.at).await? {
        return Ok(done);
    }
    let Some(owner) = database.find_user(new.owner).await? else {
        return refuse(Error::Absent(Absent::User));
    };
    let by = if new.by == new.owner {
        owner.clone()
    } else {
        match database.find_user(new.by).await? {
            Some(by) => by,
            None => return refuse(Error::Absent(Absent::User)),
        }
    };
    let mut room = Room {
        id: new.id,
        name: new.name.clone(),
        owner: new.owner,
        created_at: new.at,
        updated_at: new.at,
        seq: Seq::ZERO,
        message_count: 0,
        member_count: 0,
    };
    let pk = database.insert_room(&room, owner.pk).await?;
    let head = RoomHead { pk, seq: room.seq };
    let occasion = Occasion { room_id: new.id, head, user: &owner, by: &by, at: new.at };
    room.seq = occasion.add(database, joined, effects).await?;
    room.member_count = 1;
    Ok(keep(database, new.idempotency.as_ref(), room, new.at).await?)
}
