//! Reads the versions of a message.

use chatsphere_core::store::{PageRequest, Versions};
use chatsphere_core::{Access, Error, MessageId, NotFound, RoomId};
use tokio_postgres::Row;

use super::{enter, page_rows, reader, room_cte};
use crate::pages::{self, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, within_page_bytes};

/// Selects the first text, and those from the second on. Each of these references the one before it.
const VERSIONS: &str = concat!(
    room_cte!(),
    ", message AS MATERIALIZED (
         SELECT m.pk, m.content, m.created_at, m.user_pk,
                CASE WHEN $5::bigint IS NULL THEN (SELECT head FROM changes WHERE message_pk = m.pk)
                     ELSE (SELECT prev FROM texts WHERE pk = $5 AND message_pk = m.pk) END AS start
         FROM room JOIN messages m ON room.open AND m.id = $4 AND m.room_pk = room.pk AND m.lane < 4
     ), later AS (
         WITH RECURSIVE chain (text_pk) AS (
             SELECT start FROM message
             UNION ALL SELECT t.prev FROM chain
             CROSS JOIN LATERAL (SELECT prev FROM texts WHERE pk = chain.text_pk LIMIT 1) AS t
         ) SELECT * FROM ",
    within_page_bytes!(
        "SELECT t.* FROM (SELECT text_pk FROM chain LIMIT $6) AS chain
         CROSS JOIN LATERAL (SELECT * FROM texts WHERE pk = chain.text_pk LIMIT 1) AS t",
        "version DESC"
    ),
    " AS later
     ), texts_of AS (
         SELECT 0::bigint AS pk, 1::bigint AS version, content, created_at AS at, user_pk AS by_pk, start AS prev FROM message
         UNION ALL SELECT pk, version, content, at, by_pk, prev FROM later
     )
     SELECT room.seq, room.member, texts_of.pk, texts_of.version, texts_of.content, texts_of.at, u.id, u.username, texts_of.prev
     FROM room LEFT JOIN (
         texts_of CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = texts_of.by_pk LIMIT 1) AS u
     ) ON true ORDER BY texts_of.version DESC"
);

pub(super) async fn versions(
    reads: &Reads,
    room: RoomId,
    access: Access,
    message: MessageId,
    page: PageRequest,
) -> Result<Versions, Error> {
    let (user, any) = reader(access);
    let after = page.cursor.map(|cursor| cursor.0);
    reads
        .read(VERSIONS, &[room.as_uuid(), &user, &any, message.as_uuid(), &after, &rows_for(page.limit)], |found| {
            let head = match enter(&found, access)? {
                Ok(head) => head,
                Err(error) => return Ok(Err(error)),
            };
            let rows: Vec<&Row> = page_rows(&found, 2).collect();
            let Some((first, later)) = rows.split_last() else { return Ok(Err(Error::NotFound(NotFound::Message))) };
            let start: Option<i64> = first.try_get(8)?;
            let (_, first) = rows::message_version(*first, 2)?;
            let author = first.by.id;
            let later = later.iter().map(|row| Ok::<_, Cause>((rows::message_version(*row, 2)?, row.try_get(8)?)));
            let page = pages::versions(start, later, first, page.limit)?;
            Ok(Ok(Versions { author, page, head }))
        })
        .await
}
