//! Reads SQLite's rows, and what must be looked up besides them.

use chatsphere_core::{Event, Message, MessageDetails, RoomId};
use rusqlite::{Connection, Error, OptionalExtension, Result, Row};

pub(super) use crate::rows::*;

impl Columns for Row<'_> {
    type Error = Error;

    fn value<T: Value>(&self, column: usize) -> Result<T> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<&str> {
        Ok(self.get_ref(column)?.as_str()?)
    }

    fn foreign(&self, column: usize, what: &'static str) -> Error {
        match self.get_ref(column) {
            Ok(found) => Error::FromSqlConversionFailure(column, found.data_type(), what.into()),
            Err(error) => error,
        }
    }
}

/// The columns of [`message`], if `messages` is `m` and its author `u`.
macro_rules! message_columns {
    () => {
        "m.id, u.id, u.username, m.seq, m.content, m.client_message_id, m.created_at, m.updated_at, m.pk"
    };
}
pub(super) use message_columns;

/// Reads a message, in its current state.
pub(super) fn message(connection: &Connection, row: &Row<'_>, room_id: RoomId) -> Result<Message> {
    crate::rows::message(row, 0, room_id, || present(connection, row.get(8)?))
}

/// Returns the current text of a message and its details, if it has some.
fn present(connection: &Connection, message_pk: i64) -> Result<Option<(String, MessageDetails)>> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT content FROM texts WHERE pk = c.head), (SELECT content FROM messages WHERE pk = ?1)),
                    c.content_seq, c.version,
                    c.edited_at, (SELECT id FROM users WHERE pk = c.edited_by_pk),
                    c.deleted_at, (SELECT id FROM users WHERE pk = c.deleted_by_pk),
                    c.pinned_at, (SELECT id FROM users WHERE pk = c.pinned_by_pk), c.flags
             FROM changes c WHERE c.message_pk = ?1",
        )?
        .query_row([message_pk], |row| Ok((row.get(0)?, details(row, 1)?)))
        .optional()
}

/// Returns the message with this key, in its current state.
fn message_of(connection: &Connection, pk: i64, room_id: RoomId) -> Result<Option<Message>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.pk = ?1"
        ))?
        .query_row([pk], |row| message(connection, row, room_id))
        .optional()
}

/// Reads an event other than a new message: its columns, then the key of the message that it references.
pub(super) fn event(connection: &Connection, row: &Row<'_>, room_id: RoomId) -> Result<Event> {
    let message = match row.get::<_, Option<i64>>(8)? {
        Some(pk) => message_of(connection, pk, room_id)?.map(Box::new),
        None => None,
    };
    crate::rows::event(row, 0, room_id, message)
}
