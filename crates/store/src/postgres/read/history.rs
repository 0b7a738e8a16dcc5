//! Reads the messages of a room.

use chatsphere_core::store::{History, HistoryRange, MessageRead, PageRequest, Pins, Place, Versioned};
use chatsphere_core::{Access, Error, Message, MessageId, NotFound, RoomId, Seq};
use tokio_postgres::Row;

use super::{enter, enter_version, page_rows, reader, room_cte};
use crate::pages::{self, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{
    self, MESSAGE_COLUMNS, join_author, message_columns, messages_of_room, number, present_messages, within_page_bytes,
};

/// The statement for one direction: towards older or towards newer messages, nearest first. It also queries whether there are
/// messages on the other side of the start.
macro_rules! history_sql {
    ($beyond:literal, $within:literal, $order:literal) => {
        concat!(
            room_cte!(),
            ", beyond AS MATERIALIZED (
                 SELECT room.open AND EXISTS (
                     SELECT FROM generate_series(0, 3) AS lanes (lane)
                     CROSS JOIN LATERAL (SELECT FROM messages b WHERE b.room_pk = room.pk AND b.lane = lanes.lane AND b.seq ",
            $beyond,
            " $4 LIMIT 1) AS b WHERE room.lanes >> lanes.lane & 1 = 1) AS beyond FROM room
             ) SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, beyond.beyond, page.*
             FROM room CROSS JOIN beyond LEFT JOIN LATERAL (SELECT ",
            message_columns!(),
            " FROM ",
            within_page_bytes!(
                messages_of_room!("room", concat!("AND room.open AND m.seq ", $within, " $4"), concat!("seq ", $order), "$5"),
                concat!("seq ", $order)
            ),
            " AS m",
            join_author!(),
            ") AS page ON true ORDER BY page.seq ",
            $order
        )
    };
}
const BEFORE: &str = history_sql!(">=", "<", "DESC");
const AFTER: &str = history_sql!("<=", ">", "ASC");
/// The statement for one side of a place.
macro_rules! side_sql {
    ($within:literal, $order:literal) => {
        concat!(
            "(SELECT ",
            message_columns!(),
            " FROM ",
            within_page_bytes!(
                messages_of_room!("room", concat!("AND room.open AND m.seq ", $within, " place.seq"), $order, "$6"),
                $order
            ),
            " AS m",
            join_author!(),
            ")"
        )
    };
}
/// `$4` is the id of a message, or null; `$5` is then the number of the place.
const AROUND: &str = concat!(
    room_cte!(),
    ", place AS MATERIALIZED (
         SELECT coalesce($5::bigint, (SELECT seq FROM messages WHERE id = $4::uuid AND room_pk = room.pk AND lane < 4)) AS seq
         FROM room
     ) SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, place.seq AS place, page.*
     FROM room CROSS JOIN place LEFT JOIN LATERAL (",
    side_sql!("<", "seq DESC"),
    " UNION ALL ",
    side_sql!(">=", "seq"),
    ") AS page ON true ORDER BY page.seq"
);
const MESSAGE: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, page.* FROM room LEFT JOIN LATERAL (SELECT ",
    message_columns!(),
    " FROM (",
    present_messages!("WHERE room.open AND m.id = $4 AND m.room_pk = room.pk AND m.lane < 4 LIMIT 1"),
    ") AS m",
    join_author!(),
    ") AS page ON true"
);
const PINS: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, page.* FROM room LEFT JOIN LATERAL (SELECT ",
    message_columns!(),
    ", m.pin_seq FROM ",
    within_page_bytes!(
        concat!(
            "SELECT m.*, p.seq AS pin_seq FROM (
                 SELECT seq, message_pk FROM pins WHERE room.open AND room_pk = room.pk AND seq < $4 ORDER BY seq DESC LIMIT $5
             ) AS p CROSS JOIN LATERAL (",
            present_messages!("WHERE m.pk = p.message_pk LIMIT 1"),
            ") AS m"
        ),
        "pin_seq DESC"
    ),
    " AS m",
    join_author!(),
    ") AS page ON true ORDER BY page.pin_seq DESC"
);

pub(super) async fn history(
    reads: &Reads,
    room: RoomId,
    access: Access,
    range: HistoryRange,
    limit: usize,
) -> Result<Versioned<History>, Error> {
    let (sql, is_older, seq) = match range {
        HistoryRange::Newest => (BEFORE, true, i64::MAX),
        HistoryRange::Before(seq) => (BEFORE, true, number(seq)),
        HistoryRange::After(seq) => (AFTER, false, number(seq)),
        HistoryRange::Around(place) => return around(reads, room, access, place, limit).await,
    };
    let (user, any) = reader(access);
    reads
        .read(sql, &[room.as_uuid(), &user, &any, &seq, &rows_for(limit)], |found| {
            let version = match enter_version(&found, access)? {
                Ok(version) => version,
                Err(error) => return Ok(Err(error)),
            };
            let beyond = found.first().map(|row| row.try_get(3)).transpose()?.unwrap_or_default();
            let messages = pages::cut_messages(page_rows(&found, 7).map(|row| rows::message(row, 4, room)), limit)?;
            Ok(Ok(pages::history(messages, is_older, beyond, version)))
        })
        .await
}

async fn around(reads: &Reads, room: RoomId, access: Access, place: Place, limit: usize) -> Result<Versioned<History>, Error> {
    let (user, any) = reader(access);
    let (seq, id) = match place {
        Place::At(seq) => (Some(number(seq)), None),
        Place::Of(id) => (None, Some(*id.as_uuid())),
    };
    reads
        .read(AROUND, &[room.as_uuid(), &user, &any, &id, &seq, &rows_for(limit)], |found| {
            let version = match enter_version(&found, access)? {
                Ok(version) => version,
                Err(error) => return Ok(Err(error)),
            };
            let Some(place) = found.first().map(|row| row.try_get::<_, Option<i64>>(3)).transpose()?.flatten() else {
                return Ok(Err(Error::NotFound(NotFound::Message)));
            };
            let (mut older, mut newer) = (Vec::new(), Vec::new());
            for row in page_rows(&found, 7) {
                if row.try_get::<_, i64>(7)? < place { older.push(row) } else { newer.push(row) }
            }
            let cut = |side: Vec<&Row>| pages::cut_messages(side.into_iter().map(|row| rows::message(row, 4, room)), limit);
            older.reverse();
            Ok(Ok(pages::history_around(cut(older)?, cut(newer)?, limit, version)))
        })
        .await
}

pub(super) async fn message(reads: &Reads, room: RoomId, access: Access, id: MessageId) -> Result<MessageRead, Error> {
    let (user, any) = reader(access);
    reads
        .read(MESSAGE, &[room.as_uuid(), &user, &any, id.as_uuid()], |found| {
            let head: Seq = match enter(&found, access)? {
                Ok(head) => head,
                Err(error) => return Ok(Err(error)),
            };
            let message = page_rows(&found, 5).next().map(|row| rows::message(row, 2, room)).transpose()?;
            Ok(message.map(|message| MessageRead { message, head }).ok_or(Error::NotFound(NotFound::Message)))
        })
        .await
}

pub(super) async fn pins(reads: &Reads, room: RoomId, access: Access, page: PageRequest) -> Result<Pins, Error> {
    let (user, any) = reader(access);
    let before = page.cursor.map_or(i64::MAX, |cursor| cursor.0);
    reads
        .read(PINS, &[room.as_uuid(), &user, &any, &before, &rows_for(page.limit)], |found| {
            let head = match enter(&found, access)? {
                Ok(head) => head,
                Err(error) => return Ok(Err(error)),
            };
            let pinned = |row: &Row| Ok((row.try_get(2 + MESSAGE_COLUMNS)?, rows::message(row, 2, room)?));
            let pinned = page_rows(&found, 5).map(pinned);
            let cut = pages::cut::<(i64, Message), _, Cause>(pinned, page.limit, |(_, message)| message)?;
            Ok(Ok(Pins { page: pages::listed(cut), head }))
        })
        .await
}
