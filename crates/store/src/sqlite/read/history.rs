//! Reads the messages of a room.

use chatsphere_core::store::{History, HistoryRange, MessageRead, PageRequest, Pins, Place, Versioned};
use chatsphere_core::{Access, Error, Message, MessageId, NotFound, RoomId, Seq};
use rusqlite::{Connection, OptionalExtension};

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
    let (nearest, is_older, beyond) = match range {
        HistoryRange::Newest => (newest_below(connection, &room, i64::MAX, limit)?, true, false),
        HistoryRange::Before(seq) => {
            let beyond = exists(connection, messages_exist!(">="), &room, seq)?;
            (newest_below(connection, &room, number(seq), limit)?, true, beyond)
        }
        HistoryRange::After(seq) => {
            (oldest_above(connection, &room, seq, limit)?, false, exists(connection, messages_exist!("<="), &room, seq)?)
        }
        HistoryRange::Around(place) => return around(connection, &room, place, limit),
    };
    Ok(pages::history(nearest, is_older, beyond, room.version))
}

fn around(connection: &Connection, room: &OpenRoom, place: Place, limit: usize) -> Result<Versioned<History>, Stop> {
    let seq = match place {
        Place::At(seq) => seq,
        Place::Of(id) => seq_of(connection, room, id)?.ok_or(Error::NotFound(NotFound::Message))?,
    };
    let older = newest_below(connection, room, number(seq), limit)?;
    let newer = oldest_above(connection, room, seq.previous(), limit)?;
    Ok(pages::history_around(older, newer, limit, room.version))
}

fn seq_of(connection: &Connection, room: &OpenRoom, id: MessageId) -> rusqlite::Result<Option<Seq>> {
    connection
        .prepare_cached("SELECT seq FROM messages WHERE id = ?1 AND room_pk = ?2 AND lane < 4")?
        .query_row((id.as_bytes(), room.pk), |row| rows::seq(row, 0))
        .optional()
}

pub(super) fn message(connection: &Connection, room: RoomId, access: Access, id: MessageId) -> Result<MessageRead, Stop> {
    let room = enter(connection, room, access)?;
    let message = connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.id = ?1 AND m.room_pk = ?2 AND m.lane < 4"
        ))?
        .query_row((id.as_bytes(), room.pk), |row| rows::message(connection, row, room.id))
        .optional()?;
    let message = message.ok_or(Error::NotFound(NotFound::Message))?;
    Ok(MessageRead { message, head: room.version.head })
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

pub(super) fn pins(connection: &Connection, room: RoomId, access: Access, page: PageRequest) -> Result<Pins, Stop> {
    let room = enter(connection, room, access)?;
    let before = page.cursor.map_or(i64::MAX, |cursor| cursor.0);
    let mut pinned = connection.prepare_cached(concat!(
        "SELECT ",
        message_columns!(),
        ", p.seq FROM pins p CROSS JOIN messages m ON m.pk = p.message_pk JOIN users u ON u.pk = m.user_pk
         WHERE p.room_pk = ?1 AND p.seq < ?2 ORDER BY p.seq DESC LIMIT ?3"
    ))?;
    let pinned = pinned.query_map((room.pk, before, rows_for(page.limit)), |row| {
        Ok((row.get(9)?, rows::message(connection, row, room.id)?))
    })?;
    let page = pages::listed(pages::cut(pinned, page.limit, |(_, message)| message)?);
    Ok(Pins { page, head: room.version.head })
}
