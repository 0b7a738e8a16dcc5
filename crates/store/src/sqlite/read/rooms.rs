//! Reading rooms.

use chatsphere_core::store::{Page, PageRequest, RoomFilter, RoomVersion, Standing};
use chatsphere_core::{Access, Error, Room, RoomId, Seq, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{enter, room_pks, user_pk};
use crate::pages::{page, rows_for};
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, room_columns};

pub(in crate::sqlite) fn room(connection: &Connection, id: RoomId, access: Access) -> Result<Room, Stop> {
    let room = enter(connection, id, access)?;
    let sql = concat!("SELECT ", room_columns!(), " FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.pk = ?1");
    Ok(connection.prepare_cached(sql)?.query_row([room.pk], rows::room)?)
}

pub(in crate::sqlite) fn version(connection: &Connection, id: RoomId, access: Access) -> Result<RoomVersion, Stop> {
    Ok(enter(connection, id, access)?.version)
}

pub(in crate::sqlite) fn standing(connection: &Connection, room: RoomId, user: UserId) -> rusqlite::Result<Option<Standing>> {
    connection
        .prepare_cached(
            "SELECT o.id,
                    EXISTS (SELECT 1 FROM users u JOIN members m ON m.user_pk = u.pk WHERE u.id = ?2 AND m.room_pk = r.pk)
             FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.id = ?1",
        )?
        .query_row((room.as_bytes(), user.as_bytes()), |row| Ok(Standing { owner: rows::id(row, 0)?, member: row.get(1)? }))
        .optional()
}

pub(in crate::sqlite) fn rooms(connection: &Connection, filter: &RoomFilter, request: PageRequest) -> Result<Page<Room>, Stop> {
    let only = filter.rooms.as_ref().map(|ids| room_pks(connection, ids)).transpose()?;
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(8)?, rows::room(row)?));
    // Three statements rather than one with conditions, so that each walks the index that suits it.
    let found = match (filter.member, only) {
        (Some(member), only) => connection
            .prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                ", r.pk FROM members m CROSS JOIN rooms r ON r.pk = m.room_pk JOIN users o ON o.pk = r.owner_pk
                 WHERE m.user_pk = ?1 AND m.room_pk > ?2
                   AND (?3 IS NULL OR m.room_pk IN (SELECT value FROM json_each(?3)))
                 ORDER BY m.room_pk LIMIT ?4"
            ))?
            .query_map((user_pk(connection, member)?, after, only, rows_for(request.limit)), read)?
            .collect::<Result<_, _>>()?,
        (None, Some(only)) => connection
            .prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                ", r.pk FROM rooms r JOIN users o ON o.pk = r.owner_pk
                 WHERE r.pk IN (SELECT value FROM json_each(?1)) AND r.pk > ?2 ORDER BY r.pk LIMIT ?3"
            ))?
            .query_map((only, after, rows_for(request.limit)), read)?
            .collect::<Result<_, _>>()?,
        (None, None) => connection
            .prepare_cached(concat!(
                "SELECT ",
                room_columns!(),
                ", r.pk FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.pk > ?1 ORDER BY r.pk LIMIT ?2"
            ))?
            .query_map((after, rows_for(request.limit)), read)?
            .collect::<Result<_, _>>()?,
    };
    Ok(page(found, request.limit))
}

pub(in crate::sqlite) fn heads(connection: &Connection, ids: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Stop> {
    let mut find = connection.prepare_cached("SELECT seq FROM rooms WHERE id = ?1")?;
    let mut heads = Vec::with_capacity(ids.len());
    for id in ids {
        let head = find.query_row([id.as_bytes()], |row| rows::seq(row, 0)).optional()?;
        heads.extend(head.map(|head| (*id, head)));
    }
    Ok(heads)
}

pub(in crate::sqlite) fn size(connection: &Connection) -> Result<u64, Stop> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

pub(in crate::sqlite) fn ping(connection: &Connection) -> Result<(), Stop> {
    let answered: bool = connection.prepare_cached("SELECT count(*) = 1 FROM installation")?.query_row([], |row| row.get(0))?;
    if answered { Ok(()) } else { Err(Stop::Told(Error::Internal)) }
}
