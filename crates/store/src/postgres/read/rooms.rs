//! Reading rooms.

use chatsphere_core::store::{Page, PageRequest, RoomFilter, Standing};
use chatsphere_core::{Access, Error, Room, RoomId, Seq, UserId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::reader;
use crate::pages::{admit, page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, room_columns};

pub(in crate::postgres) async fn room(reads: &Reads, id: RoomId, access: Access) -> Result<Room, Error> {
    let sql = concat!(
        "SELECT ",
        room_columns!(),
        ", EXISTS (SELECT FROM users u JOIN members m ON m.user_pk = u.pk WHERE u.id = $2 AND m.room_pk = r.pk)
         FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.id = $1"
    );
    reads
        .read(sql, &[id.as_uuid(), &reader(access).0], |found| {
            let Some(row) = found.first() else {
                // Without a room, nobody is admitted.
                return Ok(admit(access, None).and(Err(Error::Internal)));
            };
            let room = rows::room(row)?;
            Ok(admit(access, Some(row.try_get(8)?)).map(|()| room))
        })
        .await
}

pub(in crate::postgres) async fn standing(reads: &Reads, room: RoomId, user: UserId) -> Result<Option<Standing>, Error> {
    let sql =
        "SELECT o.id, EXISTS (SELECT FROM users u JOIN members m ON m.user_pk = u.pk WHERE u.id = $2 AND m.room_pk = r.pk)
        FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.id = $1";
    reads
        .read(sql, &[room.as_uuid(), user.as_uuid()], |found| {
            let standing = found.first().map(|row| Ok(Standing { owner: rows::id(row, 0)?, member: row.try_get(1)? }));
            Ok(Ok(standing.transpose().map_err(|cause: Cause| cause)?))
        })
        .await
}

const OF_MEMBER: &str = concat!(
    "SELECT ",
    room_columns!(),
    ", r.pk FROM users u JOIN members m ON m.user_pk = u.pk JOIN rooms r ON r.pk = m.room_pk JOIN users o ON o.pk = r.owner_pk
     WHERE u.id = $1 AND m.room_pk > $2 AND ($3::uuid[] IS NULL OR r.id = ANY ($3)) ORDER BY m.room_pk LIMIT $4"
);
const AMONG: &str = concat!(
    "SELECT ",
    room_columns!(),
    ", r.pk FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.id = ANY ($1) AND r.pk > $2 ORDER BY r.pk LIMIT $3"
);
const ALL: &str = concat!(
    "SELECT ",
    room_columns!(),
    ", r.pk FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.pk > $1 ORDER BY r.pk LIMIT $2"
);

pub(in crate::postgres) async fn rooms(reads: &Reads, filter: &RoomFilter, request: PageRequest) -> Result<Page<Room>, Error> {
    let only = filter.rooms.as_ref().map(|ids| ids.iter().map(|id| *id.as_uuid()).collect::<Vec<Uuid>>());
    let (after, count) = (request.cursor.map_or(0, |cursor| cursor.0), rows_for(request.limit));
    let member = filter.member.map(|member| *member.as_uuid());
    // Three statements rather than one with conditions, so that each walks the index that suits it.
    let (sql, params): (&str, &[&(dyn ToSql + Sync)]) = match (&member, &only) {
        (Some(member), _) => (OF_MEMBER, &[member, &after, &only, &count]),
        (None, Some(only)) => (AMONG, &[only, &after, &count]),
        (None, None) => (ALL, &[&after, &count]),
    };
    reads
        .read(sql, params, |found| {
            let rooms = found.iter().map(|row| Ok((row.try_get(8)?, rows::room(row)?))).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(rooms, request.limit)))
        })
        .await
}

pub(in crate::postgres) async fn heads(reads: &Reads, ids: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
    reads
        .read("SELECT id, seq FROM rooms WHERE id = ANY ($1)", &[&ids], |found| {
            Ok(Ok(found.iter().map(|row| Ok((rows::id(row, 0)?, rows::seq(row, 1)?))).collect::<Result<_, Cause>>()?))
        })
        .await
}

pub(in crate::postgres) async fn ping(reads: &Reads) -> Result<(), Error> {
    reads.read("SELECT FROM installation", &[], |found| Ok(if found.len() == 1 { Ok(()) } else { Err(Error::Internal) })).await
}
