//! Reads the messages of a room.

use chatsphere_core::store::{History, HistoryRange, Versioned};
use chatsphere_core::{Access, Message, RoomId, Seq};
use rusqlite::Connection;

use super::{OpenRoom, enter};
use crate::pages::{self, Cut, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, message_columns, number};

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
            let beyond =
                exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND lane = 0 AND seq >= ?2", &room, seq)?;
            (newest_below(connection, &room, number(seq), limit)?, beyond)
        }
        HistoryRange::After(seq) => {
            let beyond =
                exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND lane = 0 AND seq <= ?2", &room, seq)?;
            (oldest_above(connection, &room, seq, limit)?, beyond)
        }
    };
    Ok(pages::history(nearest, range, beyond, room.version))
}

fn exists(connection: &Connection, sql: &str, room: &OpenRoom, seq: Seq) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists((room.pk, number(seq)))
}

/// Returns a page of the messages below `seq`, newest first.
pub(super) fn newest_below(connection: &Connection, room: &OpenRoom, seq: i64, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.pk = m.user_pk
             WHERE m.room_pk = ?1 AND m.lane = 0 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3"
    ))?;
    pages::cut_messages(
        statement.query_map((room.pk, seq, rows_for(limit)), |row| rows::message(connection, row, room.id))?,
        limit,
    )
}

/// Returns a page of the messages above `seq`, oldest first.
pub(super) fn oldest_above(connection: &Connection, room: &OpenRoom, seq: Seq, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.pk = m.user_pk
             WHERE m.room_pk = ?1 AND m.lane = 0 AND m.seq > ?2 ORDER BY m.seq LIMIT ?3"
    ))?;
    pages::cut_messages(
        statement.query_map((room.pk, number(seq), rows_for(limit)), |row| rows::message(connection, row, room.id))?,
        limit,
    )
}
