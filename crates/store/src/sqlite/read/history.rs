//! Reading the messages of a room.

use std::sync::Arc;

use chatsphere_core::store::{History, HistoryRange};
use chatsphere_core::{Access, Message, RoomId, Seq, Shared};
use rusqlite::Connection;

use super::{OpenRoom, enter};
use crate::pages::{self, Cut, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::recent::Recent;
use crate::sqlite::rows::{self, message_columns, number};

pub(in crate::sqlite) fn history(
    connection: &Connection,
    recent: &Recent,
    room: RoomId,
    access: Access,
    range: HistoryRange,
    limit: usize,
) -> Result<Arc<Shared<History>>, Stop> {
    let room = enter(connection, room, access)?;
    if range == HistoryRange::Newest {
        return recent.history.page(room.id, limit, room.stamp, || {
            let nearest = newest_below(connection, &room, i64::MAX, limit)?;
            Ok(pages::history(nearest, range, false, room.head))
        });
    }
    let (nearest, beyond) = match range {
        HistoryRange::Newest => (newest_below(connection, &room, i64::MAX, limit)?, false),
        HistoryRange::Before(seq) => {
            let beyond = exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND seq >= ?2", &room, seq)?;
            (newest_below(connection, &room, number(seq), limit)?, beyond)
        }
        HistoryRange::After(seq) => {
            let beyond = exists(connection, "SELECT 1 FROM messages WHERE room_pk = ?1 AND seq <= ?2", &room, seq)?;
            (oldest_above(connection, &room, seq, limit)?, beyond)
        }
    };
    Ok(Arc::new(Shared::new(pages::history(nearest, range, beyond, room.head))))
}

fn exists(connection: &Connection, sql: &str, room: &OpenRoom, seq: Seq) -> rusqlite::Result<bool> {
    connection.prepare_cached(sql)?.exists((room.pk, number(seq)))
}

/// A page of the messages below `seq`, newest first.
pub(super) fn newest_below(connection: &Connection, room: &OpenRoom, seq: i64, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.pk = m.user_pk
             WHERE m.room_pk = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3"
    ))?;
    pages::cut_messages(statement.query_map((room.pk, seq, rows_for(limit)), |row| rows::message(row, room.id))?, limit)
}

/// A page of the messages above `seq`, oldest first.
pub(super) fn oldest_above(connection: &Connection, room: &OpenRoom, seq: Seq, limit: usize) -> rusqlite::Result<Cut<Message>> {
    let mut statement = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.room_pk = ?1 AND m.seq > ?2 ORDER BY m.seq LIMIT ?3"
    ))?;
    pages::cut_messages(statement.query_map((room.pk, number(seq), rows_for(limit)), |row| rows::message(row, room.id))?, limit)
}
