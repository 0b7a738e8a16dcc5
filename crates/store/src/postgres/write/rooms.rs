//! The writer's access to rooms and memberships.

use chatsphere_core::store::RoomRelation;
use chatsphere_core::{Room, RoomId, UserId};

use super::PostgresWriter;
use super::messages::{ROOMS, room_head};
use super::users::new_key;
use crate::postgres::read::rooms::STANDING;
use crate::postgres::rows::{self, number};
use crate::write::database::{NewEvent, RoomHead, Rooms};
use crate::write::failure::Failure;

const EVENT: &str = "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk, body)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const JOIN: &str = "INSERT INTO members (room_pk, user_pk, joined_seq) VALUES ($1, $2, $3)";
const LEAVE: &str = "DELETE FROM members WHERE room_pk = $1 AND user_pk = $2";
const ADVANCE: &str = "UPDATE rooms SET seq = $2, member_count = member_count + $3 WHERE pk = $1";

impl Rooms for PostgresWriter {
    async fn find_room(&mut self, id: RoomId) -> Result<Option<RoomHead>, Failure> {
        let found = self.query(ROOMS, &[&vec![*id.as_uuid()]]).await?;
        let head = self.read(found.first().map(room_head).transpose())?;
        Ok(head.map(|(_, head)| head))
    }

    async fn insert_room(&mut self, room: &Room, owner_pk: i64) -> Result<i64, Failure> {
        let sql = "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
            VALUES ($1, $2, $3, 0, 0, 0, $4, $5) RETURNING pk";
        let (created, updated) = (room.created_at.as_millis(), room.updated_at.as_millis());
        let made = self.query(sql, &[room.id.as_uuid(), &room.name.as_str(), &owner_pk, &created, &updated]).await?;
        self.read(new_key(&made))
    }

    async fn is_member(&mut self, room_pk: i64, user_pk: i64) -> Result<bool, Failure> {
        let sql = "SELECT FROM members WHERE user_pk = $1 AND room_pk = $2";
        Ok(!self.query(sql, &[&user_pk, &room_pk]).await?.is_empty())
    }

    async fn room_relation(&mut self, room: RoomId, user: UserId) -> Result<Option<RoomRelation>, Failure> {
        let found = self.query(STANDING, &[room.as_uuid(), user.as_uuid()]).await?;
        self.read(found.first().map(rows::room_relation).transpose())
    }

    async fn insert_event(&mut self, event: &NewEvent<'_>) -> Result<(), Failure> {
        let (room, user, seq, members) = (event.room_pk, event.user_pk, number(event.seq), event.members());
        let (kind, by, at) = (event.kind.name(), event.by_pk, event.at.as_millis());
        let (message, body) = (event.message_pk, event.body);
        self.run(|session| async move {
            let insert = async { session.change(EVENT, &[&room, &seq, &kind, &user, &by, &at, &message, &body]).await };
            let membership = async {
                match members {
                    1.. => session.change(JOIN, &[&room, &user, &seq]).await,
                    0 => Ok(0),
                    ..0 => session.change(LEAVE, &[&room, &user]).await,
                }
            };
            let advance = async { session.change(ADVANCE, &[&room, &seq, &members]).await };
            tokio::try_join!(biased; insert, membership, advance).map(drop)
        })
        .await
    }
}
