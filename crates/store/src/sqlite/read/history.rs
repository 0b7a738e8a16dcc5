//! Reading the messages of a room.

use chatsphere_core::store::{History, HistoryRange};
use chatsphere_core::{Access, Message, RoomId, Seq};
use rusqlite::Connection;

use super::{OpenRoom, enter};
use crate::pages::{self, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, message_columns, number};

pub(in crate::sqlite) fn history(
    connection: &Connection,
    room: RoomId,
    access: Access,
    range: HistoryRange,
    limit: usize,
) -> Result<History, Stop> {
    let room = enter(connection, room, access)?;
    let count = rows_for(limit);
    let (nearest, beyond) = match range {
        HistoryRange::Newest => (newest_below(connection, &room, i64::MAX, count)?, false),
        HistoryRange::Before(seq) => {
            let beyond = exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND seq >= ?2", &room, seq)?;
            (newest_below(connection, &room, number(seq), count)?, beyond)
        }
        HistoryRange::After(seq) => {
            let beyond = exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND seq <= ?2", &room, seq)?;
            (oldest_above(connection, &room, seq, count)?, beyond)
        }
    };
    Ok(pages::history(nearest, range, beyond, room.head, limit))
}

fn exists(connection: &Connection, sql: &str, room: &OpenRoom, seq: Seq) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists((room.pk, number(seq)))
}

/// At most `count` messages below `seq`, newest first.
pub(super) fn newest_below(connection: &Connection, room: &OpenRoom, seq: i64, count: i64) -> rusqlite::Result<Vec<Message>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk
             WHERE m.room_pk = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3"
        ))?
        .query_map((room.pk, seq, count), |row| rows::message(row, room.id))?
        .collect()
}

/// At most `count` messages above `seq`, oldest first.
pub(super) fn oldest_above(connection: &Connection, room: &OpenRoom, seq: Seq, count: i64) -> rusqlite::Result<Vec<Message>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.room_pk = ?1 AND m.seq > ?2 ORDER BY m.seq LIMIT ?3"
        ))?
        .query_map((room.pk, number(seq), count), |row| rows::message(row, room.id))?
        .collect()
}
