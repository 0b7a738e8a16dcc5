//! Rooms and memberships, as the writer needs them.

use chatsphere_core::store::Standing;
use chatsphere_core::{Room, RoomId, UserId};

use super::SqliteWriter;
use super::messages::{is_member, room_head};
use crate::sqlite::{read, rows};
use crate::write::database::{MembershipKind, MembershipRow, RoomHead, Rooms};
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

    async fn standing(&mut self, room: RoomId, user: UserId) -> Result<Option<Standing>, Failure> {
        self.run(|connection| read::rooms::standing(connection, room, user))
    }

    async fn change_membership(&mut self, row: &MembershipRow) -> Result<(), Failure> {
        let seq = rows::number(row.seq);
        self.known.forget();
        self.run(|connection| {
            connection
                .prepare_cached(
                    "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((row.room_pk, seq, row.kind.as_str(), row.user_pk, row.by_pk, row.at.as_millis()))?;
            let more = match row.kind {
                MembershipKind::Joined => {
                    connection
                        .prepare_cached("INSERT INTO members (room_pk, user_pk, joined_seq) VALUES (?1, ?2, ?3)")?
                        .execute((row.room_pk, row.user_pk, seq))?;
                    1
                }
                MembershipKind::Left => {
                    connection
                        .prepare_cached("DELETE FROM members WHERE user_pk = ?1 AND room_pk = ?2")?
                        .execute((row.user_pk, row.room_pk))?;
                    -1
                }
            };
            connection
                .prepare_cached("UPDATE rooms SET seq = ?2, member_count = member_count + ?3 WHERE pk = ?1")?
                .execute((row.room_pk, seq, more))
                .map(drop)
        })
    }
}
