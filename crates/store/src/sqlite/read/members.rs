//! Reads memberships.

use chatsphere_core::store::{Members, PageRequest};
use chatsphere_core::{Access, RoomId};
use rusqlite::Connection;

use super::enter;
use crate::pages::{page, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows;

pub(super) fn members(connection: &Connection, room: RoomId, access: Access, request: PageRequest) -> Result<Members, Stop> {
    let room = enter(connection, room, access)?;
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    let found = connection
        .prepare_cached(
            "SELECT m.joined_seq, u.id, u.username FROM members m JOIN users u ON u.pk = m.user_pk
             WHERE m.room_pk = ?1 AND m.joined_seq > ?2 ORDER BY m.joined_seq LIMIT ?3",
        )?
        .query_map((room.pk, after, rows_for(request.limit)), |row| Ok((row.get(0)?, rows::user_ref(row, 1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(Members { page: page(found, request.limit), head: room.version.head })
}
