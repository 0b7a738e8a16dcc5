//! Reads messages, of one room or of all.

use async_trait::async_trait;
use chatsphere_core::store::{
    EventsPage, History, HistoryRange, MessageFilter, MessageRead, MessageReads, Newest, Page, PageRequest, Pins, RoomVersion,
    Versioned, Versions,
};
use chatsphere_core::{Access, Error, MessageId, MessageInRoom, RoomId, Seq};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{events, history, message_versions};
use crate::pages::{cut, messages_page, rows_for};
use crate::postgres::database::PostgresStore;
use crate::postgres::failure::Cause;
use crate::postgres::rows::{
    self, MESSAGE_COLUMNS, join_author, message_columns, messages_of_room, present_messages, within_page_bytes,
};

macro_rules! messages_from {
    ($messages:expr, $limit:literal) => {
        concat!(
            within_page_bytes!(
                concat!(
                    "SELECT ",
                    message_columns!(),
                    ", r.id AS room_id, r.name AS room_name, r.created_at AS room_created, r.updated_at AS room_updated, m.pk \
                     FROM ",
                    $messages,
                    join_author!(),
                    "ORDER BY m.pk DESC ",
                    $limit
                ),
                "pk DESC"
            ),
            " ORDER BY pk DESC"
        )
    };
}
const OF_AUTHOR: &str = messages_from!(
    concat!(
        "(",
        present_messages!(
            "messages m
             CROSS JOIN LATERAL (SELECT id, name, created_at, updated_at FROM rooms WHERE pk = m.room_pk LIMIT 1) AS r
             LEFT JOIN LATERAL (
                 SELECT true AS yes FROM members
                 WHERE user_pk = (SELECT pk FROM users WHERE id = $3) AND room_pk = m.room_pk LIMIT 1
             ) AS seen ON $3::uuid IS NOT NULL",
            "WHERE m.user_pk = (SELECT pk FROM users WHERE id = $1) AND m.pk < $2 AND m.lane < 4
               AND ($3::uuid IS NULL OR seen.yes) AND ($4::uuid[] IS NULL OR r.id = ANY ($4))
             ORDER BY m.pk DESC LIMIT $5"
        ),
        ") AS m CROSS JOIN LATERAL (SELECT id, name, created_at, updated_at FROM rooms WHERE pk = m.room_pk LIMIT 1) AS r"
    ),
    "LIMIT $5"
);
const ALL: &str = messages_from!(
    concat!(
        "(",
        present_messages!("WHERE m.pk < $1 AND m.lane < 4 ORDER BY m.pk DESC LIMIT $2"),
        ") AS m CROSS JOIN LATERAL (SELECT id, name, created_at, updated_at FROM rooms WHERE pk = m.room_pk LIMIT 1) AS r"
    ),
    "LIMIT $2"
);
/// Scans each room separately, because a scan of all messages might pass millions of other rooms'. `seq` and `pk` rise together
/// within a room, because both are assigned while its row is locked.
const SEEN_BY: &str = messages_from!(
    concat!(
        "(SELECT room_pk FROM members WHERE user_pk = (SELECT pk FROM users WHERE id = $3)) AS x
         CROSS JOIN LATERAL (SELECT * FROM rooms WHERE pk = x.room_pk AND ($4::uuid[] IS NULL OR id = ANY ($4)) LIMIT 1) AS r
         CROSS JOIN LATERAL (",
        messages_of_room!("r", "AND m.pk < $1", "seq DESC", "$2"),
        ") AS m"
    ),
    "LIMIT $2"
);
const AMONG: &str = messages_from!(
    concat!(
        "(SELECT pk, id, name, lanes, created_at, updated_at FROM rooms WHERE id = ANY ($3)) AS r CROSS JOIN LATERAL (",
        messages_of_room!("r", "AND m.pk < $1", "seq DESC", "$2"),
        ") AS m"
    ),
    "LIMIT $2"
);

#[async_trait]
impl MessageReads for PostgresStore {
    async fn history(
        &self,
        room: RoomId,
        access: Access,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Versioned<History>, Error> {
        history::history(&self.database.reads, room, access, range, limit).await
    }

    async fn message(&self, room: RoomId, access: Access, message: MessageId) -> Result<MessageRead, Error> {
        history::message(&self.database.reads, room, access, message).await
    }

    async fn events_after(&self, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        events::after(&self.database.reads, room, access, after, limit).await
    }

    async fn newest(&self, room: RoomId, access: Access, messages: usize, others: usize) -> Result<Versioned<Newest>, Error> {
        events::newest(&self.database.reads, room, access, messages, others).await
    }

    async fn room_version(&self, room: RoomId, access: Access) -> Result<RoomVersion, Error> {
        self.database.versions.ask(room, access).await
    }

    async fn message_versions(
        &self,
        room: RoomId,
        access: Access,
        message: MessageId,
        page: PageRequest,
    ) -> Result<Versions, Error> {
        message_versions::versions(&self.database.reads, room, access, message, page).await
    }

    async fn pins(&self, room: RoomId, access: Access, page: PageRequest) -> Result<Pins, Error> {
        history::pins(&self.database.reads, room, access, page).await
    }

    async fn messages(&self, filter: MessageFilter, request: PageRequest) -> Result<Page<MessageInRoom>, Error> {
        let author = filter.author.map(|user| *user.as_uuid());
        let seen_by = filter.seen_by.map(|user| *user.as_uuid());
        let only = filter.rooms.as_ref().map(|ids| ids.iter().map(|id| *id.as_uuid()).collect::<Vec<Uuid>>());
        let (before, count) = (request.cursor.map_or(i64::MAX, |cursor| cursor.0), rows_for(request.limit));
        let (sql, params): (&str, &[&(dyn ToSql + Sync)]) = match (&author, &seen_by, &only) {
            (Some(author), _, _) => (OF_AUTHOR, &[author, &before, &seen_by, &only, &count]),
            (None, Some(seen_by), _) => (SEEN_BY, &[&before, &count, seen_by, &only]),
            (None, None, Some(only)) => (AMONG, &[&before, &count, only]),
            (None, None, None) => (ALL, &[&before, &count]),
        };
        let answer = |found: Vec<Row>| {
            let messages = cut(found.iter().map(message_in_room), request.limit, |(_, item)| &item.message)?;
            Ok(Ok(messages_page(messages)))
        };
        self.database.reads.read(sql, params, answer).await
    }
}

fn message_in_room(row: &Row) -> Result<(i64, MessageInRoom), Cause> {
    // The first column after the message's.
    const ROOM: usize = MESSAGE_COLUMNS;
    let message = rows::message(row, 0, rows::id(row, ROOM)?)?;
    Ok((row.try_get(ROOM + 4)?, rows::message_in_room(row, ROOM + 1, message)?))
}
