//! Reads messages, of one room or of all.

use async_trait::async_trait;
use chatsphere_core::store::{
    EventsPage, History, HistoryRange, MessageFilter, MessageRead, MessageReads, Newest, Page, PageRequest, Pins, RoomVersion,
    Versioned, Versions,
};
use chatsphere_core::{Access, Error, MessageId, MessageInRoom, RoomId, Seq};
use rusqlite::{Connection, Params, Row};

use super::{enter, events, history, room_pks, shown_lanes, user_pk, versions};
use crate::pages::{Cut, cut, messages_page, rows_for};
use crate::sqlite::database::SqliteStore;
use crate::sqlite::readers::Stop;
use crate::sqlite::rows::{self, message_columns};

macro_rules! messages_in_rooms {
    ($rest:literal) => {
        messages_in_rooms!("messages m", $rest)
    };
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            message_columns!(),
            ", r.id, r.name, r.created_at, r.updated_at FROM ",
            $from,
            " JOIN users u ON u.pk = m.user_pk JOIN rooms r ON r.pk = m.room_pk WHERE ",
            $rest
        )
    };
}

#[async_trait]
impl MessageReads for SqliteStore {
    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error> {
        self.database.readers.read(move |connection| history::history(connection, room, access, range, limit)).await
    }

    async fn message(&self, room: RoomId, access: Access, message: MessageId) -> Result<MessageRead, Error> {
        self.database.readers.read(move |connection| history::message(connection, room, access, message)).await
    }

    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        self.database.readers.read(move |connection| events::after(connection, room, access, after, limit)).await
    }

    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error> {
        self.database.readers.read(move |connection| events::newest(connection, room, access, messages, others)).await
    }

    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        self.database.readers.read(move |connection| Ok(enter(connection, room, access)?.version)).await
    }

    async fn message_versions(
        &self,
        room: RoomId,
        access: Access,
        message: MessageId,
        page: PageRequest,
    ) -> Result<Versions, Error> {
        self.database.readers.read(move |connection| versions::versions(connection, room, access, message, page)).await
    }

    async fn pins(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Pins, Error> {
        self.database.readers.read(move |connection| history::pins(connection, room, access, page)).await
    }

    async fn messages(&self, filter: MessageFilter, request: PageRequest) -> Result<Page<MessageInRoom>, Error> {
        self.database.readers.read(move |connection| messages(connection, &filter, request)).await
    }
}

pub(in crate::sqlite) fn messages(
    connection: &Connection,
    filter: &MessageFilter,
    request: PageRequest,
) -> Result<Page<MessageInRoom>, Stop> {
    let only = filter.rooms.as_ref().map(|ids| room_pks(connection, ids)).transpose()?;
    let seen_by = filter.seen_by.map(|user| user_pk(connection, user)).transpose()?;
    let before = request.cursor.map_or(i64::MAX, |cursor| cursor.0);
    let limit = request.limit;
    let found = match filter.author {
        Some(author) => of_author(connection, user_pk(connection, author)?, seen_by, only, before, limit)?,
        None if seen_by.is_none() && only.is_none() => select(
            connection,
            messages_in_rooms!("m.pk < ?1 AND m.lane < 4 ORDER BY m.pk DESC LIMIT ?2"),
            (before, rows_for(limit)),
            limit,
        )?,
        None => of_rooms(connection, seen_by, only, before, limit)?,
    };
    Ok(messages_page(found))
}

/// Returns the newest messages of an author. The list by author lacks some of the newest messages, so those are scanned.
fn of_author(
    connection: &Connection,
    author: i64,
    seen_by: Option<i64>,
    only: Option<String>,
    before: i64,
    limit: usize,
) -> rusqlite::Result<Cut<(i64, MessageInRoom)>> {
    let listed: i64 = connection.prepare_cached("SELECT up_to FROM messages_listed")?.query_row([], |row| row.get(0))?;
    // The `+` makes SQLite scan by `pk`.
    let mut newest = connection.prepare_cached(messages_in_rooms!(
        "m.pk > ?6 AND m.pk < ?2 AND +m.user_pk = ?1 AND +m.lane < 4
         AND (?3 IS NULL OR EXISTS (SELECT 1 FROM members s WHERE s.user_pk = ?3 AND s.room_pk = m.room_pk))
         AND (?4 IS NULL OR +m.room_pk IN (SELECT value FROM json_each(?4)))
         ORDER BY m.pk DESC LIMIT ?5"
    ))?;
    let newest =
        newest.query_map((author, before, seen_by, &only, rows_for(limit), listed), |row| message_in_room(connection, row))?;
    let mut older = connection.prepare_cached(messages_in_rooms!(
        "messages_by_author a CROSS JOIN messages m ON m.pk = a.message_pk",
        "a.user_pk = ?1 AND a.message_pk < ?2 AND a.message_pk <= ?6 AND m.lane < 4
         AND (?3 IS NULL OR EXISTS (SELECT 1 FROM members s WHERE s.user_pk = ?3 AND s.room_pk = m.room_pk))
         AND (?4 IS NULL OR m.room_pk IN (SELECT value FROM json_each(?4)))
         ORDER BY a.message_pk DESC LIMIT ?5"
    ))?;
    let older =
        older.query_map((author, before, seen_by, &only, rows_for(limit), listed), |row| message_in_room(connection, row))?;
    cut(newest.chain(older), limit, |(_, item)| &item.message)
}

/// Returns the newest messages of some rooms. Each room is scanned separately, because a scan of all messages might pass
/// millions of other rooms'. Only the keys of all rooms are gathered, because the contents might be gigabytes.
fn of_rooms(
    connection: &Connection,
    seen_by: Option<i64>,
    only: Option<String>,
    before: i64,
    limit: usize,
) -> rusqlite::Result<Cut<(i64, MessageInRoom)>> {
    let rooms: Vec<(i64, i64)> = connection
        .prepare_cached(
            "SELECT r.pk, r.lanes FROM rooms r
             WHERE (?1 IS NULL OR r.pk IN (SELECT room_pk FROM members WHERE user_pk = ?1))
               AND (?2 IS NULL OR r.pk IN (SELECT value FROM json_each(?2)))",
        )?
        .query_map((seen_by, only), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    // `seq` and `pk` rise together within a room. The `+` keeps SQLite from walking by `pk`.
    let mut newest = connection.prepare_cached(
        "SELECT m.pk FROM messages m WHERE m.room_pk = ?1 AND m.lane = ?4 AND +m.pk < ?2 ORDER BY m.seq DESC LIMIT ?3",
    )?;
    let mut found: Vec<i64> = Vec::new();
    for (room, lanes) in rooms {
        for lane in shown_lanes(lanes) {
            for pk in newest.query_map((room, before, rows_for(limit), lane), |row| row.get(0))? {
                found.push(pk?);
            }
        }
    }
    found.sort_unstable_by_key(|pk| std::cmp::Reverse(*pk));
    let mut one = connection.prepare_cached(messages_in_rooms!("m.pk = ?1"))?;
    cut(found.into_iter().map(|pk| one.query_row([pk], |row| message_in_room(connection, row))), limit, |(_, item)| {
        &item.message
    })
}

fn select(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    limit: usize,
) -> rusqlite::Result<Cut<(i64, MessageInRoom)>> {
    cut(connection.prepare_cached(sql)?.query_map(params, |row| message_in_room(connection, row))?, limit, |(_, item)| {
        &item.message
    })
}

fn message_in_room(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<(i64, MessageInRoom)> {
    let message = rows::message(connection, row, rows::id(row, 9)?)?;
    Ok((row.get(8)?, rows::message_in_room(row, 10, message)?))
}
