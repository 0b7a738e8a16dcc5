//! Converts SQLite's rows into the model.

use chatsphere_core::ids::Id;
use chatsphere_core::{
    ClientMessageId, Content, Email, Event, EventKind, EventRow, ExternalId, Message, MessageChange, Role, Room, RoomId,
    RoomName, Seq, Timestamp, Token, TokenType, TokenWithUser, User, UserRef, Username, Version,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Result, Row};

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
            crate::sqlite::rows::user_columns!(),
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
/// The columns of [`message`], if `messages` is `m` and its author `u`.
macro_rules! message_columns {
    () => {
        "m.id, u.id, u.username, m.seq, m.content, m.client_message_id, m.created_at, m.updated_at, m.pk"
    };
}
pub(super) use {message_columns, room_columns, token_columns, user_columns};

pub(super) fn id<Kind>(row: &Row<'_>, column: usize) -> Result<Id<Kind>> {
    row.get(column).map(Id::from_bytes)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> Result<Seq> {
    count(row, column).map(Seq::new)
}

/// Returns the number in the database's type.
pub(super) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

/// Makes the error about a text that this program can't have written.
fn foreign(column: usize, reason: &str) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

pub(super) fn user(row: &Row<'_>) -> Result<User> {
    Ok(User {
        id: id(row, 0)?,
        username: Username::from_stored(row.get(1)?),
        role: Role::parse(row.get_ref(2)?.as_str()?).ok_or_else(|| foreign(2, "no role"))?,
        disabled: row.get(3)?,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
        external_id: row.get::<_, Option<String>>(6)?.map(ExternalId::from_stored),
    })
}

pub(super) fn user_ref(row: &Row<'_>, column: usize) -> Result<UserRef> {
    Ok(UserRef { id: id(row, column)?, username: Username::from_stored(row.get(column + 1)?) })
}

pub(super) fn token_with_user(row: &Row<'_>) -> Result<TokenWithUser> {
    let user = user(row)?;
    let permissions = serde_json::from_str(row.get_ref(9)?.as_str()?).map_err(|_| foreign(9, "no permissions"))?;
    let token = Token {
        id: id(row, 7)?,
        token_type: TokenType::parse(row.get_ref(8)?.as_str()?).ok_or_else(|| foreign(8, "no kind of token"))?,
        user_id: user.id,
        permissions,
        parent: row.get::<_, Option<[u8; 16]>>(10)?.map(Id::from_bytes),
        email: row.get::<_, Option<String>>(11)?.map(Email::from_stored),
        created_at: time(row, 12)?,
        expires_at: time(row, 13)?,
        revoked_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
    };
    Ok(TokenWithUser { token, user })
}

pub(super) fn room(row: &Row<'_>) -> Result<Room> {
    Ok(Room {
        id: id(row, 0)?,
        name: RoomName::from_stored(row.get(1)?),
        owner: id(row, 2)?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
        seq: seq(row, 5)?,
        message_count: count(row, 6)?,
        member_count: count(row, 7)?,
    })
}

/// Reads a message in its current state. Its change is looked up only if there is one.
pub(super) fn message(connection: &Connection, row: &Row<'_>, room_id: RoomId) -> Result<Message> {
    let (created_at, updated_at) = (time(row, 6)?, time(row, 7)?);
    let changed = if created_at == updated_at { None } else { change(connection, row.get(8)?)? };
    let (content, change) = match changed {
        Some((Some(content), change)) => (content, Some(Box::new(change))),
        Some((None, change)) => (row.get(4)?, Some(Box::new(change))),
        None => (row.get(4)?, None),
    };
    Ok(Message {
        id: id(row, 0)?,
        room_id,
        author: user_ref(row, 1)?,
        seq: seq(row, 3)?,
        content: Content::from_stored(content),
        client_message_id: row.get::<_, Option<String>>(5)?.map(ClientMessageId::from_stored),
        created_at,
        updated_at,
        change,
    })
}

/// Returns the last change of a message, and its current text unless that is still the first.
fn change(connection: &Connection, message_pk: i64) -> Result<Option<(Option<String>, MessageChange)>> {
    connection
        .prepare_cached(
            "SELECT (SELECT content FROM texts WHERE pk = c.head), c.content_seq, c.version,
                    c.edited_at, (SELECT id FROM users WHERE pk = c.edited_by_pk),
                    c.deleted_at, (SELECT id FROM users WHERE pk = c.deleted_by_pk)
             FROM changes c WHERE c.message_pk = ?1",
        )?
        .query_row([message_pk], |row| {
            let change = MessageChange {
                seq: seq(row, 1)?,
                version: Version::new(row.get(2)?),
                edited_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                edited_by: row.get::<_, Option<[u8; 16]>>(4)?.map(Id::from_bytes),
                deleted_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
                deleted_by: row.get::<_, Option<[u8; 16]>>(6)?.map(Id::from_bytes),
            };
            Ok((row.get(0)?, change))
        })
        .optional()
}

/// Returns the message with this key, in its current state.
fn message_of(connection: &Connection, pk: i64, room_id: RoomId) -> Result<Option<Message>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.pk = ?1"
        ))?
        .query_row([pk], |row| message(connection, row, room_id))
        .optional()
}

/// Reads an event other than a new message: `seq, kind, at`, the ids and names of both users, the key of the message that it
/// references, and `body`.
pub(super) fn event(connection: &Connection, row: &Row<'_>, room_id: RoomId) -> Result<Event> {
    let message = match row.get::<_, Option<i64>>(7)? {
        Some(pk) => message_of(connection, pk, room_id)?.map(Box::new),
        None => None,
    };
    let fields = EventRow { user: user_ref(row, 3)?, by: user_ref(row, 5)?, message, body: row.get(8)? };
    let kind = EventKind::from_row(row.get_ref(1)?.as_str()?, fields);
    Ok(Event { room_id, seq: seq(row, 0)?, at: time(row, 2)?, kind })
}
