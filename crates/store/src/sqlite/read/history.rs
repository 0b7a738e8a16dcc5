//! Reads the messages of a room.

use chatsphere_core::store::{History, HistoryRange, Versioned};
use chatsphere_core::{Access, Message, RoomId, Seq};
use rusqlite::Connection;

use super::{OpenRoom, enter};
use crate::pages::{self, Cut, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, message_columns, number};

/// The lanes of a room in which every message counts: lane 0 alone. One range costs less than four that are merged, and
/// `lane IN` with an order would sort all messages of the room.
const COUNTED_ONLY: i64 = 1;

/// The statements for one direction, nearest first: for a room whose messages are all in lane 0, and for any room. In each lane
/// the index gives the messages in that order.
macro_rules! nearest_sql {
    ($within:literal, $order:literal) => {
        (
            concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages m JOIN users u ON u.pk = m.user_pk
                 WHERE m.room_pk = ?1 AND m.lane = 0 AND m.seq ",
                $within,
                " ?2 ORDER BY m.seq ",
                $order,
                " LIMIT ?3"
            ),
            concat!(
                "SELECT ",
                message_columns!(),
                " FROM (
                     SELECT * FROM (",
                nearest_sql!("0", $within, $order),
                ") UNION ALL
                     SELECT * FROM (",
                nearest_sql!("1", $within, $order),
                ") UNION ALL
                     SELECT * FROM (",
                nearest_sql!("2", $within, $order),
                ") UNION ALL
                     SELECT * FROM (",
                nearest_sql!("3", $within, $order),
                ") ORDER BY 2 ",
                $order,
                " LIMIT ?3
                 ) AS nearest CROSS JOIN messages m ON m.pk = nearest.pk JOIN users u ON u.pk = m.user_pk
                 ORDER BY m.seq ",
                $order
            ),
        )
    };
    ($lane:literal, $within:literal, $order:literal) => {
        concat!(
            "SELECT pk, seq FROM messages WHERE room_pk = ?1 AND lane = ",
            $lane,
            " AND seq ",
            $within,
            " ?2 ORDER BY seq ",
            $order,
            " LIMIT ?3"
        )
    };
}
macro_rules! messages_exist {
    ($within:literal) => {
        concat!(
            "SELECT 1 FROM (VALUES (0), (1), (2), (3)) AS lanes
             WHERE ?3 >> lanes.column1 & 1 = 1
               AND EXISTS (SELECT 1 FROM messages WHERE room_pk = ?1 AND lane = lanes.column1 AND seq ",
            $within,
            " ?2)"
        )
    };
}

pub(super) fn history(
    connection: &Connection,
    room: RoomId,
    access: Access,
    range: HistoryRange,
    limit: usize,
) -> Result<Versioned<History>, Stop> {
    let room = enter(connection, room, access)?;
    let (nearest, beyond) = match range {
        HistoryRange::Newest => (newest_below(connection, &room, i64::MAX, limit)?, false),
        HistoryRange::Before(seq) => {
            (newest_below(connection, &room, number(seq), limit)?, exists(connection, messages_exist!(">="), &room, seq)?)
        }
        HistoryRange::After(seq) => {
            (oldest_above(connection, &room, seq, limit)?, exists(connection, messages_exist!("<="), &room, seq)?)
        }
    };
    Ok(pages::history(nearest, range, beyond, room.version))
}

fn exists(connection: &Connection, sql: &str, room: &OpenRoom, seq: Seq) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists((room.pk, number(seq), room.lanes))
}

/// Returns a page of the messages below `seq`, newest first.
pub(super) fn newest_below(connection: &Connection, room: &OpenRoom, seq: i64, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let (of_lane, page) = nearest_sql!("<", "DESC");
    nearest(connection, room, seq, limit, if room.lanes == COUNTED_ONLY { of_lane } else { page })
}

/// Returns a page of the messages above `seq`, oldest first.
pub(super) fn oldest_above(connection: &Connection, room: &OpenRoom, seq: Seq, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let (of_lane, page) = nearest_sql!(">", "ASC");
    nearest(connection, room, number(seq), limit, if room.lanes == COUNTED_ONLY { of_lane } else { page })
}

fn nearest(connection: &Connection, room: &OpenRoom, seq: i64, limit: usize, sql: &str) -> rusqlite::Result<Cut<Message>> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map((room.pk, seq, rows_for(limit)), |row| rows::message(connection, row, room.id))?;
    pages::cut_messages(found, limit)
}
