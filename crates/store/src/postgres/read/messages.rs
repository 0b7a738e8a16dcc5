//! Reading messages across rooms.

use chatsphere_core::store::{MessageFilter, Page, PageRequest};
use chatsphere_core::{Error, MessageInRoom, RoomName};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::pages::{page, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, message_columns};

const OF_AUTHOR: &str = concat!(
    "SELECT ",
    message_columns!(),
    ", r.id, r.name, m.pk FROM messages m JOIN users u ON u.pk = m.user_pk JOIN rooms r ON r.pk = m.room_pk
     WHERE m.user_pk = (SELECT pk FROM users WHERE id = $1) AND m.pk < $2
       AND ($3::uuid IS NULL OR EXISTS (
           SELECT FROM users s JOIN members x ON x.user_pk = s.pk WHERE s.id = $3 AND x.room_pk = m.room_pk))
       AND ($4::uuid[] IS NULL OR r.id = ANY ($4))
     ORDER BY m.pk DESC LIMIT $5"
);
const ALL: &str = concat!(
    "SELECT ",
    message_columns!(),
    ", r.id, r.name, m.pk FROM messages m JOIN users u ON u.pk = m.user_pk JOIN rooms r ON r.pk = m.room_pk
     WHERE m.pk < $1 ORDER BY m.pk DESC LIMIT $2"
);
/// Each room is walked by itself: a walk over all messages might pass millions of other rooms'. `seq` and `pk` rise together
/// within a room, since both are given while its row is locked.
macro_rules! of_rooms {
    ($rooms:literal) => {
        concat!(
            "WITH picked AS MATERIALIZED (",
            $rooms,
            ") SELECT ",
            message_columns!(),
            ", picked.id, picked.name, m.pk FROM picked CROSS JOIN LATERAL (
                 SELECT * FROM messages WHERE room_pk = picked.pk AND pk < $1 ORDER BY seq DESC LIMIT $2
             ) AS m JOIN users u ON u.pk = m.user_pk ORDER BY m.pk DESC LIMIT $2"
        )
    };
}
const SEEN_BY: &str = of_rooms!(
    "SELECT r.pk, r.id, r.name FROM users s JOIN members x ON x.user_pk = s.pk JOIN rooms r ON r.pk = x.room_pk
     WHERE s.id = $3 AND ($4::uuid[] IS NULL OR r.id = ANY ($4))"
);
const AMONG: &str = of_rooms!("SELECT r.pk, r.id, r.name FROM rooms r WHERE r.id = ANY ($3)");

pub(in crate::postgres) async fn messages(
    reads: &Reads,
    filter: &MessageFilter,
    request: PageRequest,
) -> Result<Page<MessageInRoom>, Error> {
    let author = filter.author.map(|user| *user.as_uuid());
    let seen_by = filter.seen_by.map(|user| *user.as_uuid());
    let only = filter.rooms.as_ref().map(|ids| ids.iter().map(|id| *id.as_uuid()).collect::<Vec<Uuid>>());
    let (before, count) = (request.cursor.map_or(i64::MAX, |cursor| cursor.0), rows_for(request.limit));
    let (sql, params): (&str, &[&(dyn ToSql + Sync)]) = match (&author, &seen_by, &only) {
        (Some(author), _, _) => (OF_AUTHOR, &[author, &before, &seen_by, &only, &count]),
        (None, Some(seen_by), _) => (SEEN_BY, &[&before, &count, seen_by, &only]),
        (None, None, Some(only)) => (AMONG, &[&before, &count, only]),
        (None, None, None) => (ALL, &[&before, &count]),
    };
    reads
        .read(sql, params, |found| {
            let messages = found.iter().map(message_in_room).collect::<Result<_, Cause>>()?;
            Ok(Ok(page(messages, request.limit)))
        })
        .await
}

fn message_in_room(row: &Row) -> Result<(i64, MessageInRoom), Cause> {
    let message = rows::message(row, 0, rows::id(row, 8)?)?;
    Ok((row.try_get(10)?, MessageInRoom { message, room_name: RoomName::from_stored(row.try_get(9)?) }))
}
