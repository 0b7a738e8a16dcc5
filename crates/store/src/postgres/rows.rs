//! Reads PostgreSQL's rows.

use chatsphere_core::{Event, Message, RoomId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Cause;
pub(super) use crate::rows::*;

type Result<T> = std::result::Result<T, Cause>;

impl Columns for Row {
    type Error = Cause;

    fn value<T: Value>(&self, column: usize) -> Result<T> {
        Ok(self.try_get(column)?)
    }

    fn text(&self, column: usize) -> Result<&str> {
        Ok(self.try_get(column)?)
    }

    fn foreign(&self, _column: usize, what: &'static str) -> Cause {
        Cause::Foreign(what)
    }
}

/// The columns of [`message`], if [`present_messages`] is `m` and its author `u`.
macro_rules! message_columns {
    () => {
        "m.id, u.id AS user_id, u.username, m.seq, m.content, m.client_message_id, m.created_at, m.updated_at, m.content_seq, \
         m.version, m.edited_at, m.edited_by, m.deleted_at, m.deleted_by, m.pinned_at, m.pinned_by, m.flags"
    };
}
/// Selects messages in their current state: the rows of `messages`, as `m`, that `$rest` selects. A change is looked up only if
/// there is one. The LIMIT makes the planner look it up row by row.
macro_rules! present_messages {
    ($rest:expr) => {
        crate::postgres::rows::present_messages!("messages m", $rest)
    };
    ($from:expr, $rest:expr) => {
        concat!(
            "SELECT m.pk, m.id, m.room_pk, m.seq, m.user_pk, coalesce(c.content, m.content) AS content, m.client_message_id,
                    m.created_at, m.updated_at, c.content_seq, c.version, c.edited_at, c.edited_by, c.deleted_at,
                    c.deleted_by, c.pinned_at, c.pinned_by, c.flags
             FROM ",
            $from,
            " LEFT JOIN LATERAL (
                 SELECT (SELECT content FROM texts WHERE pk = changes.head) AS content, changes.content_seq, changes.version,
                        changes.edited_at, (SELECT id FROM users WHERE pk = changes.edited_by_pk) AS edited_by,
                        changes.deleted_at, (SELECT id FROM users WHERE pk = changes.deleted_by_pk) AS deleted_by,
                        changes.pinned_at, (SELECT id FROM users WHERE pk = changes.pinned_by_pk) AS pinned_by,
                        changes.flags::bigint AS flags
                 FROM changes WHERE changes.message_pk = m.pk AND m.updated_at <> m.created_at LIMIT 1
             ) AS c ON true ",
            $rest
        )
    };
}
/// Selects the messages of the room `$room` in their current state, in all lanes that it has and in the order `$order`, at most
/// `$limit`. In each lane the index gives them in that order.
macro_rules! messages_of_room {
    ($room:literal, $where:expr, $order:expr, $limit:literal) => {
        concat!(
            "SELECT m.* FROM generate_series(0, 3) AS lanes (lane) CROSS JOIN LATERAL (",
            crate::postgres::rows::present_messages!(concat!(
                "WHERE m.room_pk = ",
                $room,
                ".pk AND m.lane = lanes.lane ",
                $where,
                " ORDER BY m.",
                $order,
                " LIMIT ",
                $limit
            )),
            ") AS m WHERE ",
            $room,
            ".lanes >> lanes.lane & 1 = 1 ORDER BY m.",
            $order,
            " LIMIT ",
            $limit
        )
    };
}
/// Selects the messages that fit into a page, and the next one, so that the server does not send rows that are not needed: the
/// rows of `$messages`, by a key in `$order`. Their lengths are known without reading their contents. A message that is larger
/// than a page counts as a page, because the next one would otherwise be missed.
macro_rules! within_page_bytes {
    ($messages:expr, $order:expr) => {
        concat!(
            "(SELECT * FROM (SELECT *, sum(least(coalesce(octet_length(content), 0), 1048576)) OVER (ORDER BY ",
            $order,
            " ROWS UNBOUNDED PRECEDING) - least(coalesce(octet_length(content), 0), 1048576) AS bytes_before FROM (",
            $messages,
            ") AS nearest) AS summed WHERE bytes_before <= 1048576)"
        )
    };
}
const _: () = assert!(chatsphere_core::store::PAGE_BYTES == 1_048_576, "the number in the statement above");
/// Joins the author of the message `m`, as `u`.
macro_rules! join_author {
    () => {
        " CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = m.user_pk LIMIT 1) AS u "
    };
}
/// Joins the owner of the room `r`, as `o`.
macro_rules! join_owner {
    () => {
        " CROSS JOIN LATERAL (SELECT id FROM users WHERE pk = r.owner_pk LIMIT 1) AS o "
    };
}
pub(super) use {join_author, join_owner, message_columns, messages_of_room, present_messages, within_page_bytes};

/// Reads a message, whose columns begin at `first`.
pub(super) fn message(row: &Row, first: usize, room_id: RoomId) -> Result<Message> {
    // An imported message may have been updated without a change.
    crate::rows::message(row, first, room_id, || match row.try_get::<_, Option<i64>>(first + 8)? {
        Some(_) => Ok(Some((row.try_get(first + 4)?, details(row, first + 8)?))),
        None => Ok(None),
    })
}

/// The number of columns that [`message`] reads.
pub(super) const MESSAGE_COLUMNS: usize = 17;

/// Reads an event other than a new message, from column `first` on: the columns of the message that it references, then its
/// own.
pub(super) fn event(row: &Row, first: usize, room_id: RoomId) -> Result<Event> {
    let message = match row.try_get::<_, Option<Uuid>>(first)? {
        Some(_) => Some(Box::new(message(row, first, room_id)?)),
        None => None,
    };
    crate::rows::event(row, first + MESSAGE_COLUMNS, room_id, message)
}
