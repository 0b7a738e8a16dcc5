//! Converts PostgreSQL's rows into the model.

use chatsphere_core::ids::Id;
use chatsphere_core::{
    ClientMessageId, Content, Email, Event, EventKind, EventRow, ExternalId, Message, MessageChange, Role, Room, RoomId,
    RoomName, Seq, Timestamp, Token, TokenType, TokenWithUser, User, UserRef, Username, Version,
};
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Cause;

type Result<T> = std::result::Result<T, Cause>;

/// The columns of [`user`], if `users` is `u`.
macro_rules! user_columns {
    () => {
        "u.id, u.username, u.role, u.disabled, u.created_at, u.updated_at, u.external_id"
    };
}
/// The columns of [`token_with_user`], if `tokens` is `t` and its parent `p`; those of the user come first.
macro_rules! token_columns {
    () => {
        concat!(
            crate::postgres::rows::user_columns!(),
            ", t.id, t.kind, t.permissions, p.id, t.email, t.created_at, t.expires_at, t.revoked_at"
        )
    };
}
/// The columns of [`room`], if `rooms` is `r` and its owner `o`.
macro_rules! room_columns {
    () => {
        "r.id, r.name, o.id, r.created_at, r.updated_at, r.seq, r.message_count, r.member_count"
    };
}
/// The columns of [`message`], if [`present_messages`] is `m` and its author `u`.
macro_rules! message_columns {
    () => {
        "m.id, u.id AS user_id, u.username, m.seq, m.content, m.client_message_id, m.created_at, m.updated_at, m.content_seq, \
         m.version, m.edited_at, m.edited_by, m.deleted_at, m.deleted_by"
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
                    c.deleted_by
             FROM ",
            $from,
            " LEFT JOIN LATERAL (
                 SELECT (SELECT content FROM texts WHERE pk = changes.head) AS content, changes.content_seq, changes.version,
                        changes.edited_at, (SELECT id FROM users WHERE pk = changes.edited_by_pk) AS edited_by,
                        changes.deleted_at, (SELECT id FROM users WHERE pk = changes.deleted_by_pk) AS deleted_by
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
pub(super) use {
    join_author, join_owner, message_columns, messages_of_room, present_messages, room_columns, token_columns, user_columns,
    within_page_bytes,
};

pub(super) fn id<Kind>(row: &Row, column: usize) -> Result<Id<Kind>> {
    Ok(Id::from_uuid(row.try_get::<_, Uuid>(column)?))
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

pub(super) fn count(row: &Row, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| Cause::Foreign("a negative count"))
}

pub(super) fn seq(row: &Row, column: usize) -> Result<Seq> {
    count(row, column).map(Seq::new)
}

/// Returns the number in the database's type.
pub(super) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

pub(super) fn user(row: &Row) -> Result<User> {
    Ok(User {
        id: id(row, 0)?,
        username: Username::from_stored(row.try_get(1)?),
        role: Role::parse(row.try_get(2)?).ok_or(Cause::Foreign("no role"))?,
        disabled: row.try_get(3)?,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
        external_id: row.try_get::<_, Option<String>>(6)?.map(ExternalId::from_stored),
    })
}

pub(super) fn user_ref(row: &Row, column: usize) -> Result<UserRef> {
    Ok(UserRef { id: id(row, column)?, username: Username::from_stored(row.try_get(column + 1)?) })
}

pub(super) fn token_with_user(row: &Row) -> Result<TokenWithUser> {
    let user = user(row)?;
    let token = Token {
        id: id(row, 7)?,
        token_type: TokenType::parse(row.try_get(8)?).ok_or(Cause::Foreign("no kind of token"))?,
        user_id: user.id,
        permissions: serde_json::from_str(row.try_get(9)?).map_err(|_| Cause::Foreign("no permissions"))?,
        parent: row.try_get::<_, Option<Uuid>>(10)?.map(Id::from_uuid),
        email: row.try_get::<_, Option<String>>(11)?.map(Email::from_stored),
        created_at: time(row, 12)?,
        expires_at: time(row, 13)?,
        revoked_at: row.try_get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
    };
    Ok(TokenWithUser { token, user })
}

pub(super) fn room(row: &Row) -> Result<Room> {
    Ok(Room {
        id: id(row, 0)?,
        name: RoomName::from_stored(row.try_get(1)?),
        owner: id(row, 2)?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
        seq: seq(row, 5)?,
        message_count: count(row, 6)?,
        member_count: count(row, 7)?,
    })
}

/// Reads a message, whose columns begin at `first`.
pub(super) fn message(row: &Row, first: usize, room_id: RoomId) -> Result<Message> {
    Ok(Message {
        id: id(row, first)?,
        room_id,
        author: user_ref(row, first + 1)?,
        seq: seq(row, first + 3)?,
        content: Content::from_stored(row.try_get(first + 4)?),
        client_message_id: row.try_get::<_, Option<String>>(first + 5)?.map(ClientMessageId::from_stored),
        created_at: time(row, first + 6)?,
        updated_at: time(row, first + 7)?,
        change: change(row, first + 8)?.map(Box::new),
    })
}

/// The number of columns that [`message`] reads.
pub(super) const MESSAGE_COLUMNS: usize = 14;

fn change(row: &Row, first: usize) -> Result<Option<MessageChange>> {
    if row.try_get::<_, Option<i64>>(first)?.is_none() {
        return Ok(None);
    }
    let version = u32::try_from(row.try_get::<_, i64>(first + 1)?).map_err(|_| Cause::Foreign("no version"))?;
    Ok(Some(MessageChange {
        seq: seq(row, first)?,
        version: Version::new(version),
        edited_at: row.try_get::<_, Option<i64>>(first + 2)?.map(Timestamp::from_millis),
        edited_by: row.try_get::<_, Option<Uuid>>(first + 3)?.map(Id::from_uuid),
        deleted_at: row.try_get::<_, Option<i64>>(first + 4)?.map(Timestamp::from_millis),
        deleted_by: row.try_get::<_, Option<Uuid>>(first + 5)?.map(Id::from_uuid),
    }))
}

/// Reads an event other than a new message, from column `first` on: the columns of the message that it references, then `seq,
/// kind, at`, the ids and names of both users, and `body`.
pub(super) fn event(row: &Row, first: usize, room_id: RoomId) -> Result<Event> {
    let message = match row.try_get::<_, Option<Uuid>>(first)? {
        Some(_) => Some(Box::new(message(row, first, room_id)?)),
        None => None,
    };
    let first = first + MESSAGE_COLUMNS;
    let (user, by) = (user_ref(row, first + 3)?, user_ref(row, first + 5)?);
    let fields = EventRow { user, by, message, body: row.try_get(first + 7)? };
    let kind = EventKind::from_row(row.try_get(first + 1)?, fields);
    Ok(Event { room_id, seq: seq(row, first)?, at: time(row, first + 2)?, kind })
}
