//! Reads the events of a room, of all kinds.

use chatsphere_core::store::{EventsPage, Newest, Versioned};
use chatsphere_core::{Access, Error, Event, Message, RoomId, Seq};
use tokio_postgres::Row;

use super::{enter_version, page_rows, reader, room_cte};
use crate::pages::{self, Cut, rows_for};
use crate::postgres::failure::Cause;
use crate::postgres::pool::Reads;
use crate::postgres::rows::{
    self, MESSAGE_COLUMNS, join_author, message_columns, messages_of_room, number, present_messages, within_page_bytes,
};

/// Selects messages and other events in one format: the columns of a message, which for an event are those of the message that
/// it references, then those of [`rows::event`], whose `kind` is null for a new message.
macro_rules! both_kinds {
    ($messages:literal, $others:literal, $order:literal, $limit:literal) => {
        concat!(
            "(SELECT ",
            message_columns!(),
            ", m.seq AS other_seq, NULL::text AS kind, m.created_at AS at, NULL::uuid AS other_id, NULL::text AS other_name,
                     NULL::uuid AS by_id, NULL::text AS by_name, NULL::text AS body
              FROM ",
            within_page_bytes!(messages_of_room!("room", concat!("AND room.open ", $messages), $order, $limit), $order),
            " AS m",
            join_author!(),
            ") UNION ALL
             (SELECT m.id, m.author_id, m.author_name, m.message_seq, m.content, m.client_message_id, m.created_at,
                     m.updated_at, m.content_seq, m.version, m.edited_at, m.edited_by, m.deleted_at, m.deleted_by,
                     m.pinned_at, m.pinned_by, m.flags, m.seq, m.kind, m.at, u.id, u.username, b.id, b.username, m.body
              FROM ",
            within_page_bytes!(
                concat!(
                    "SELECT e.seq, e.kind, e.at, e.user_pk AS other_pk, e.by_pk, e.body, about.*
                     FROM (SELECT * FROM room_events WHERE room.open AND room_pk = room.pk ",
                    $others,
                    ") AS e LEFT JOIN LATERAL (
                         SELECT m.id, a.id AS author_id, a.username AS author_name, m.seq AS message_seq, m.content,
                                m.client_message_id, m.created_at, m.updated_at, m.content_seq, m.version, m.edited_at,
                                m.edited_by, m.deleted_at, m.deleted_by, m.pinned_at, m.pinned_by,
                                m.flags
                         FROM (",
                    present_messages!("WHERE m.pk = e.message_pk LIMIT 1"),
                    ") AS m CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = m.user_pk LIMIT 1) AS a
                     ) AS about ON true"
                ),
                $order
            ),
            " AS m
              CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = m.other_pk LIMIT 1) AS u
              CROSS JOIN LATERAL (SELECT id, username FROM users WHERE pk = m.by_pk LIMIT 1) AS b)"
        )
    };
}
const AFTER: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, page.* FROM room LEFT JOIN LATERAL (",
    both_kinds!("AND m.seq > $4", "AND seq > $4 ORDER BY seq LIMIT $5", "seq", "$5"),
    ") AS page ON true ORDER BY page.other_seq LIMIT greatest($5, 1)"
);
const NEWEST: &str = concat!(
    room_cte!(),
    "SELECT room.seq, room.member, (SELECT position FROM control_head) AS control, page.* FROM room LEFT JOIN LATERAL (",
    both_kinds!("", "ORDER BY seq DESC LIMIT $5", "seq DESC", "$4"),
    ") AS page ON true ORDER BY page.other_seq DESC"
);

pub(super) async fn after(reads: &Reads, room: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
    let (user, any) = reader(access);
    reads
        .read(AFTER, &[room.as_uuid(), &user, &any, &number(after), &pages::rows(limit)], |found| {
            Ok(match enter_version(&found, access)? {
                Ok(version) => {
                    let (messages, others) = split(&found, room, limit, limit)?;
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
                    let (messages, others) = split(&found, room, message_limit, other_limit)?;
                    Ok(pages::newest(messages, others, version))
                }
                Err(error) => Err(error),
            })
        })
        .await
}

/// The first column of an event other than a message.
const OTHER: usize = 3 + MESSAGE_COLUMNS;

/// Separates the two kinds, each in the order of the rows and cut to its page.
fn split(found: &[Row], room: RoomId, message_limit: usize, other_limit: usize) -> Result<(Cut<Message>, Cut<Event>), Cause> {
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    for row in page_rows(found, OTHER) {
        let is_message = row.try_get::<_, Option<&str>>(OTHER + 1)?.is_none();
        if is_message { messages.push(row) } else { others.push(row) }
    }
    let messages = pages::cut_messages(messages.into_iter().map(|row| rows::message(row, 3, room)), message_limit)?;
    let others = pages::cut_events(others.into_iter().map(|row| rows::event(row, 3, room)), other_limit)?;
    Ok((messages, others))
}
