//! Reads rooms.

use async_trait::async_trait;
use chatsphere_core::store::{Members, Page, PageRequest, RoomFilter, RoomReads, RoomRelation};
use chatsphere_core::{Access, Error, Room, RoomId, UserId};
use rusqlite::{Connection, OptionalExtension};

use super::{enter, members, room_pks, user_pk};
use crate::pages::{page, rows_for};
use crate::sqlite::database::SqliteStore;
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, room_columns};

#[async_trait]
impl RoomReads for SqliteStore {
    async fn room(&self, id: RoomId, access: Access) -> Result<Room, Error> {
        let sql = concat!("SELECT ", room_columns!(), " FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.pk = ?1");
        let read = move |connection: &Connection| {
            let room = enter(connection, id, access)?;
            Ok(connection.prepare_cached(sql)?.query_row([room.pk], |row| rows::room(row))?)
        };
        self.database.readers.read(read).await
    }

    async fn rooms(&self, filter: RoomFilter, request: PageRequest) -> Result<Page<Room>, Error> {
        self.database.readers.read(move |connection| rooms(connection, &filter, request)).await
    }

    async fn members(&self, room: RoomId, access: Access, request: PageRequest) -> Result<Members, Error> {
        self.database.readers.read(move |connection| members::members(connection, room, access, request)).await
    }
}

pub(in crate::sqlite) fn room_relation(
    connection: &Connection,
    room: RoomId,
    user: UserId,
) -> rusqlite::Result<Option<RoomRelation>> {
    connection
        .prepare_cached(
            "SELECT o.id,
                    EXISTS (SELECT 1 FROM users u JOIN members m ON m.user_pk = u.pk WHERE u.id = ?2 AND m.room_pk = r.pk)
             FROM rooms r JOIN users o ON o.pk = r.owner_pk WHERE r.id = ?1",
        )?
        .query_row((room.as_bytes(), user.as_bytes()), |row| rows::room_relation(row))
        .optional()
}

fn rooms(connection: &Connection, filter: &RoomFilter, request: PageRequest) -> Result<Page<Room>, Stop> {
    let only = filter.rooms.as_ref().map(|ids| room_pks(connection, ids)).transpose()?;
    let after = request.cursor.map_or(0, |cursor| cursor.0);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(8)?, rows::room(row)?));
    // There are several statements instead of one with conditions, so that each uses the index that suits it.
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
