//! The writer's access to rooms and memberships.

use chatsphere_core::store::RoomRelation;
use chatsphere_core::{EventKind, Room, RoomId, UserId};

use super::SqliteWriter;
use super::messages::{is_member, room_head};
use crate::sqlite::{read, rows};
use crate::write::database::{NewEvent, RoomHead, Rooms};
use crate::write::failure::Failure;

impl Rooms for SqliteWriter {
    async fn find_room(&mut self, id: RoomId) -> Result<Option<RoomHead>, Failure> {
        self.run(|connection| room_head(connection, id))
    }

    async fn insert_room(&mut self, room: &Room, owner_pk: i64) -> Result<i64, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
                     VALUES (?1, ?2, ?3, 0, 0, 0, ?4, ?5)",
                )?
                .insert((
                    room.id.as_bytes(),
                    room.name.as_str(),
                    owner_pk,
                    room.created_at.as_millis(),
                    room.updated_at.as_millis(),
                ))
        })
    }

    async fn is_member(&mut self, room_pk: i64, user_pk: i64) -> Result<bool, Failure> {
        self.run(|connection| is_member(connection, room_pk, user_pk))
    }

    async fn room_relation(&mut self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Failure> {
        self.run(|connection| read::rooms::room_relation(connection, room, user))
    }

    async fn insert_event(&mut self, event: &NewEvent<'_>) -> Result<(), Failure> {
        let (room, seq, user, members) = (event.room_pk, rows::number(event.seq), event.user_pk, event.members());
        if let Some(head) = self.known.rooms.get(&event.room_id) {
            head.seq = event.seq;
        }
        if let EventKind::MemberLeft { user, .. } = event.kind {
            self.known.members.remove(&(event.room_id, user.id));
        }
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute((
                    room,
                    seq,
                    event.kind.name(),
                    user,
                    event.by_pk,
                    event.at.as_millis(),
                    event.message_pk,
                    event.body,
                ))?;
            match members {
                1.. => connection
                    .prepare_cached("INSERT INTO members (room_pk, user_pk, joined_seq) VALUES (?1, ?2, ?3)")?
                    .execute((room, user, seq))?,
                0 => 0,
                ..0 => connection
                    .prepare_cached("DELETE FROM members WHERE user_pk = ?1 AND room_pk = ?2")?
                    .execute((user, room))?,
            };
            connection
                .prepare_cached("UPDATE rooms SET seq = ?2, member_count = member_count + ?3 WHERE pk = ?1")?
                .execute((room, seq, members))
                .map(drop)
        })
    }
}
