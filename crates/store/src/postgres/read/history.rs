//! Reads the messages of a room.

use chatsphere_core::store::{History, HistoryRange, Versioned};
use chatsphere_core::{Access, Error, RoomId};

use super::{enter_version, page_rows, reader, room_cte};
use crate::pages::{self, rows_for};
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, join_author, message_columns, messages_of_room, number, within_page_bytes};

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

pub(super) async fn history(
    reads: &Reads,
    room: RoomId,
    access: Access,
    range: HistoryRange,
    limit: usize,
) -> Result<Versioned<History>, Error> {
    let (sql, seq) = match range {
        HistoryRange::Newest => (BEFORE, i64::MAX),
        HistoryRange::Before(seq) => (BEFORE, number(seq)),
        HistoryRange::After(seq) => (AFTER, number(seq)),
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
            Ok(Ok(pages::history(messages, range, beyond, version)))
        })
        .await
}
