//! Reading the events of a room, of all kinds.

use chatsphere_core::store::{EventsPage, Newest, Versioned};
use chatsphere_core::{Access, Error, Event, Message, RoomId, Seq};
use tokio_postgres::Row;

use super::{enter_version, page_rows, reader, room_cte};
use crate::pages::{self, Cut, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{self, join_author, number, within_page_bytes};

/// Both kinds in one form: of a message `kind` is null, of all else the content is. The columns of a message, then those of
/// the others.
macro_rules! both_kinds {
    ($messages:literal, $others:literal, $order:literal) => {
        concat!(
            "(SELECT m.id, u.id AS user_id, u.username, m.seq, m.content, m.client_message_id, m.created_at, m.updated_at,
                     m.seq AS other_seq, NULL::text AS kind, m.created_at AS at, NULL::uuid AS other_id, NULL::text AS other_name,
                     NULL::uuid AS by_id, NULL::text AS by_name, NULL::uuid AS about_id, NULL::bigint AS about_seq,
                     NULL::text AS body
              FROM ",
            within_page_bytes!(
                concat!("SELECT * FROM messages WHERE room.open AND room_pk = room.pk ", $messages),
                $order
            ),
            " AS m",
            join_author!(),
            ") UNION ALL
             (SELECT NULL, NULL, NULL, e.seq, NULL, NULL, NULL, NULL, e.seq, e.kind, e.at, u.id, u.username, b.id, b.username,
                     about.id, about.seq, e.body
              FROM (SELECT * FROM room_events WHERE room.open AND room_pk = room.pk ",
            $others,
            ") AS e
              CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = e.user_pk LIMIT 1) AS u
              CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = e.by_pk LIMIT 1) AS b
              LEFT JOIN LATERAL (SELECT id, seq FROM messages WHERE pk = e.message_pk LIMIT 1) AS about ON true)"
        )
    };
}
const AFTER: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, page.* FROM room LEFT JOIN LATERAL (",
    both_kinds!("AND seq > $4 ORDER BY seq LIMIT $5", "AND seq > $4 ORDER BY seq LIMIT $5", "seq"),
    ") AS page ON true ORDER BY page.seq LIMIT greatest($5, 1)"
);
const NEWEST: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, page.* FROM room LEFT JOIN LATERAL (",
    both_kinds!("ORDER BY seq DESC LIMIT $4", "ORDER BY seq DESC LIMIT $5", "seq DESC"),
    ") AS page ON true ORDER BY page.seq DESC"
);

pub(super) async fn after(reads: &Reads, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
    let (user, any) = reader(access);
    reads
        .read(AFTER, &[room.as_uuid(), &user, &any, &number(after), &pages::rows(limit)], |found| {
            Ok(match enter_version(&found, access)? {
                Ok(version) => {
                    let (messages, others) = split(&found, room, limit)?;
                    Ok(pages::events(messages, others, version.head, limit))
                }
                Err(error) => Err(error),
            })
        })
        .await
}

pub(super) async fn newest(
    reads: &Reads,
    room: RoomId,
    access: Access,
    message_limit: usize,
    other_limit: usize,
) -> Result<Versioned<Newest>, Error> {
    let (user, any) = reader(access);
    reads
        .read(NEWEST, &[room.as_uuid(), &user, &any, &rows_for(message_limit), &rows_for(other_limit)], |found| {
            Ok(match enter_version(&found, access)? {
                Ok(version) => {
                    let (messages, others) = split(&found, room, message_limit)?;
                    Ok(pages::newest(messages, others, other_limit, version))
                }
                Err(error) => Err(error),
            })
        })
        .await
}

/// Parts the two kinds, each in the order it came, with the messages cut to their page.
fn split(found: &[Row], room: RoomId, message_limit: usize) -> Result<(Cut<Message>, Vec<Event>), Cause> {
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    for row in page_rows(found, 6) {
        if row.try_get::<_, Option<&str>>(12)?.is_none() {
            messages.push(row);
        } else {
            others.push(rows::event(row, 11, room)?);
        }
    }
    let messages = pages::cut_messages(messages.into_iter().map(|row| rows::message(row, 3, room)), message_limit)?;
    Ok((messages, others))
}
