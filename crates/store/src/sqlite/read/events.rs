//! Reads the events of a room, of all kinds.

use chatsphere_core::store::{EventsPage, Newest, Versioned};
use chatsphere_core::{Access, RoomId, Seq};
use rusqlite::Connection;

use super::enter;
use super::history::{newest_below, oldest_above};
use crate::pages::{self, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, number};

/// Selects events other than new messages, as [`rows::event`] reads them.
macro_rules! other_events {
    ($rest:literal) => {
        concat!(
            "SELECT e.seq, e.kind, e.at, u.id, u.username, b.id, b.username, e.body, e.message_pk FROM room_events e
             JOIN users u ON u.pk = e.user_pk JOIN users b ON b.pk = e.by_pk WHERE e.room_pk = ?1 ",
            $rest
        )
    };
}

pub(super) fn after(
    connection: &Connection,
    room: RoomId,
    access: Access,
    after: Seq,
    limit: usize,
) -> Result<EventsPage, Stop> {
    let room = enter(connection, room, access)?;
    let messages = oldest_above(connection, &room, after, limit)?;
    let mut others = connection.prepare_cached(other_events!("AND e.seq > ?2 ORDER BY e.seq LIMIT ?3"))?;
    let others = others.query_map((room.pk, number(after), pages::rows(limit)), |row| rows::event(connection, row, room.id))?;
    let others = pages::cut_events(others, limit)?;
    Ok(pages::events(messages, others, room.version.head, limit))
}

pub(super) fn newest(
    connection: &Connection,
    room: RoomId,
    access: Access,
    message_limit: usize,
    other_limit: usize,
) -> Result<Versioned<Newest>, Stop> {
    let room = enter(connection, room, access)?;
    let messages = newest_below(connection, &room, i64::MAX, message_limit)?;
    let mut others = connection.prepare_cached(other_events!("ORDER BY e.seq DESC LIMIT ?2"))?;
    let others = others.query_map((room.pk, rows_for(other_limit)), |row| rows::event(connection, row, room.id))?;
    Ok(pages::newest(messages, pages::cut_events(others, other_limit)?, room.version))
}
