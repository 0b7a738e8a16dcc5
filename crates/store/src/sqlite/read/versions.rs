//! Reads the versions of a message.

use chatsphere_core::store::{PageRequest, Versions};
use chatsphere_core::{Access, Error, MessageId, NotFound, RoomId};
use rusqlite::{Connection, OptionalExtension};

use super::enter;
use crate::pages::{self, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows;

pub(super) fn versions(
    connection: &Connection,
    room: RoomId,
    access: Access,
    message: MessageId,
    page: PageRequest,
) -> Result<Versions, Stop> {
    let room = enter(connection, room, access)?;
    let first = connection
        .prepare_cached(
            "SELECT m.pk, 1, m.content, m.created_at, u.id, u.username, (SELECT head FROM changes WHERE message_pk = m.pk)
             FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.id = ?1 AND m.room_pk = ?2 AND m.lane < 4",
        )?
        .query_row((message.as_bytes(), room.pk), |row| Ok((rows::message_version(row, 0)?, row.get::<_, Option<i64>>(6)?)))
        .optional()?;
    let Some(((pk, first), head)) = first else { return Err(Error::NotFound(NotFound::Message).into()) };
    let author = first.by.id;
    let start = match page.cursor {
        None => head,
        Some(cursor) => connection
            .prepare_cached("SELECT prev FROM texts WHERE pk = ?1 AND message_pk = ?2")?
            .query_row((cursor.0, pk), |row| row.get(0))
            .optional()?
            .flatten(),
    };
    // Each text from the second on references the one before it.
    let mut later = connection.prepare_cached(
        "WITH RECURSIVE chain (pk) AS (
                 SELECT ?2 UNION ALL SELECT t.prev FROM chain JOIN texts t ON t.pk = chain.pk LIMIT ?3
             )
             SELECT t.pk, t.version, t.content, t.at, u.id, u.username, t.prev FROM chain JOIN texts t ON t.pk = chain.pk
             JOIN users u ON u.pk = t.by_pk WHERE t.message_pk = ?1 ORDER BY t.version DESC",
    )?;
    let later = later.query_map((pk, start, rows_for(page.limit)), |row| Ok((rows::message_version(row, 0)?, row.get(6)?)))?;
    Ok(Versions { author, page: pages::versions(start, later, first, page.limit)?, head: room.version.head })
}
