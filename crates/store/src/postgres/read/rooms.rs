//! Reads rooms.

use async_trait::async_trait;
use chatsphere_core::store::{Members, Page, PageRequest, RoomFilter, RoomReads};
use chatsphere_core::{Access, Error, Room, RoomId, policy};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{join_membership, members, reader};
use crate::pages::{page, rows_for};
use crate::postgres::database::PostgresStore;
use crate::postgres::failure::Cause;
use crate::postgres::rows::{self, join_owner, room_columns};

#[async_trait]
impl RoomReads for PostgresStore {
    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error> {
        let answer = |found: Vec<Row>| {
            let Some(row) = found.first() else {
                // If the room does not exist, `may_enter` always returns an error.
                return Ok(policy::may_enter(access, None).and(Err(Error::Internal)));
            };
            let room = rows::room(row)?;
            Ok(policy::may_enter(access, Some(row.try_get(8)?)).map(|()| room))
        };
        self.database.reads.read(ONE, &[id.as_uuid(), &reader(access).0], answer).await
    }

    async fn rooms(&self, filter: RoomFilter, request: PageRequest) -> Result<Page<Room>, Error> {
        let only = filter.rooms.as_ref().map(|ids| ids.iter().map(|id| *id.as_uuid()).collect::<Vec<Uuid>>());
        let (after, count) = (request.cursor.map_or(0, |cursor| cursor.0), rows_for(request.limit));
        let member = filter.member.map(|member| *member.as_uuid());
        // There are several statements instead of one with conditions, so that each uses the index that suits it.
        let (sql, params): (&str, &[&(dyn ToSql + Sync)]) = match (&member, &only) {
            (Some(member), None) => (OF_MEMBER, &[member, &after, &count]),
            (Some(member), Some(only)) => (OF_MEMBER_AMONG, &[member, &after, &count, only]),
            (None, Some(only)) => (AMONG, &[&after, &count, only]),
            (None, None) => (ALL, &[&after, &count]),
        };
        let answer = |found: Vec<Row>| {
            let rooms = found.iter().map(|row| Ok((row.try_get(8)?, rows::room(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(rooms, request.limit)))
        };
        self.database.reads.read(sql, params, answer).await
    }

    async fn members(&self, room: RoomId, access: Access, request: PageRequest) -> Result<Members, Error> {
        members::members(&self.database.reads, room, access, request).await
    }
}

const ONE: &str = concat!(
    "SELECT ",
    room_columns!(),
    ", member.yes IS TRUE FROM rooms r",
    join_owner!(),
    join_membership!(),
    "WHERE r.id = $1"
);
pub(in crate::postgres) const STANDING: &str =
    concat!("SELECT o.id, member.yes IS TRUE FROM rooms r", join_owner!(), join_membership!(), "WHERE r.id = $1");

macro_rules! rooms_from {
    ($with:literal, $rooms:literal) => {
        concat!($with, "SELECT ", room_columns!(), ", r.pk FROM ", $rooms, join_owner!(), "ORDER BY r.pk")
    };
}
const OF_MEMBER: &str = rooms_from!(
    "",
    "(SELECT room_pk FROM members WHERE user_pk = (SELECT pk FROM users WHERE id = $1) AND room_pk > $2
      ORDER BY room_pk LIMIT $3) AS m CROSS JOIN LATERAL (SELECT * FROM rooms WHERE pk = m.room_pk LIMIT 1) AS r"
);
// The rooms are found by their ids first, because the planner might otherwise scan all rooms in the list's order.
const OF_MEMBER_AMONG: &str = rooms_from!(
    "WITH picked AS MATERIALIZED (SELECT * FROM rooms WHERE id = ANY ($4)) ",
    "(SELECT picked.* FROM picked CROSS JOIN LATERAL (
          SELECT FROM members WHERE user_pk = (SELECT pk FROM users WHERE id = $1) AND room_pk = picked.pk LIMIT 1
      ) AS m WHERE pk > $2 ORDER BY pk LIMIT $3) AS r"
);
const AMONG: &str = rooms_from!(
    "WITH picked AS MATERIALIZED (SELECT * FROM rooms WHERE id = ANY ($3)) ",
    "(SELECT * FROM picked WHERE pk > $1 ORDER BY pk LIMIT $2) AS r"
);
const ALL: &str = rooms_from!("", "(SELECT * FROM rooms WHERE pk > $1 ORDER BY pk LIMIT $2) AS r");
