//! Converts rows into the model, once for every database. The statements are each database's own.

use chatsphere_core::ids::Id;
use chatsphere_core::store::RoomRelation;
use chatsphere_core::{
    ClientMessageId, Content, Email, Event, EventKind, EventRow, ExternalId, Message, MessageDetails, MessageInRoom,
    MessageVersion, Role, Room, RoomId, RoomName, Seq, Timestamp, Token, TokenType, TokenWithUser, User, UserRef, Username,
    Version,
};
use uuid::Uuid;

use crate::flags;
use crate::write::database::Keyed;

/// A row of a database. Columns are read by their number.
pub(crate) trait Columns {
    /// Why a column can't be read.
    type Error;

    fn value<T: Value>(&self, column: usize) -> Result<T, Self::Error>;

    /// Returns a text without copying it.
    fn text(&self, column: usize) -> Result<&str, Self::Error>;

    /// Makes the error for a value that this program can't have written.
    fn foreign(&self, column: usize, what: &'static str) -> Self::Error;
}

/// A type that a column of every database can hold.
pub(crate) trait Value: rusqlite::types::FromSql + tokio_postgres::types::FromSqlOwned {}

impl<T: rusqlite::types::FromSql + tokio_postgres::types::FromSqlOwned> Value for T {}

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
            crate::rows::user_columns!(),
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
pub(crate) use {room_columns, token_columns, user_columns};

pub(crate) fn id<Kind, R: Columns>(row: &R, column: usize) -> Result<Id<Kind>, R::Error> {
    row.value(column).map(Id::from_uuid)
}

fn optional_id<Kind, R: Columns>(row: &R, column: usize) -> Result<Option<Id<Kind>>, R::Error> {
    Ok(row.value::<Option<Uuid>>(column)?.map(Id::from_uuid))
}

pub(crate) fn time<R: Columns>(row: &R, column: usize) -> Result<Timestamp, R::Error> {
    row.value(column).map(Timestamp::from_millis)
}

fn optional_time<R: Columns>(row: &R, column: usize) -> Result<Option<Timestamp>, R::Error> {
    Ok(row.value::<Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(crate) fn count<R: Columns>(row: &R, column: usize) -> Result<u64, R::Error> {
    u64::try_from(row.value::<i64>(column)?).map_err(|_| row.foreign(column, "a negative count"))
}

pub(crate) fn seq<R: Columns>(row: &R, column: usize) -> Result<Seq, R::Error> {
    count(row, column).map(Seq::new)
}

/// Returns the number in the databases' type.
pub(crate) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

fn version<R: Columns>(row: &R, column: usize) -> Result<Version, R::Error> {
    u32::try_from(row.value::<i64>(column)?).map(Version::new).map_err(|_| row.foreign(column, "no version"))
}

pub(crate) fn user<R: Columns>(row: &R) -> Result<User, R::Error> {
    Ok(User {
        id: id(row, 0)?,
        username: Username::from_stored(row.text(1)?),
        role: Role::parse(row.text(2)?).ok_or_else(|| row.foreign(2, "no role"))?,
        disabled: row.value(3)?,
        created_at: time(row, 4)?,
        updated_at: time(row, 5)?,
        external_id: row.value::<Option<String>>(6)?.map(ExternalId::from_stored),
    })
}

/// Reads a [`user`] and the column after it, `pk`.
pub(crate) fn keyed_user<R: Columns>(row: &R) -> Result<Keyed<User>, R::Error> {
    Ok(Keyed { pk: row.value(7)?, value: user(row)? })
}

/// Reads a user's `id` and `username`, from `first` on.
pub(crate) fn user_ref<R: Columns>(row: &R, first: usize) -> Result<UserRef, R::Error> {
    Ok(UserRef { id: id(row, first)?, username: Username::from_stored(row.text(first + 1)?) })
}

pub(crate) fn token_with_user<R: Columns>(row: &R) -> Result<TokenWithUser, R::Error> {
    let user = user(row)?;
    let token = Token {
        id: id(row, 7)?,
        token_type: TokenType::parse(row.text(8)?).ok_or_else(|| row.foreign(8, "no kind of token"))?,
        user_id: user.id,
        permissions: serde_json::from_str(row.text(9)?).map_err(|_| row.foreign(9, "no permissions"))?,
        parent: optional_id(row, 10)?,
        email: row.value::<Option<String>>(11)?.map(Email::from_stored),
        created_at: time(row, 12)?,
        expires_at: time(row, 13)?,
        revoked_at: optional_time(row, 14)?,
    };
    Ok(TokenWithUser { token, user })
}

pub(crate) fn room<R: Columns>(row: &R) -> Result<Room, R::Error> {
    Ok(Room {
        id: id(row, 0)?,
        name: RoomName::from_stored(row.value(1)?),
        owner: id(row, 2)?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
        seq: seq(row, 5)?,
        message_count: count(row, 6)?,
        member_count: count(row, 7)?,
    })
}

/// Reads the `id` of a room's owner, and whether a user is a member.
pub(crate) fn room_relation<R: Columns>(row: &R) -> Result<RoomRelation, R::Error> {
    Ok(RoomRelation { owner: id(row, 0)?, member: row.value(1)? })
}

/// Reads a message in its current state, from `first` on: its `id`, its author, `seq, content, client_message_id, created_at,
/// updated_at`. If its times differ, `present` returns its current content and its details, if there are some.
pub(crate) fn message<R: Columns>(
    row: &R,
    first: usize,
    room_id: RoomId,
    present: impl FnOnce() -> Result<Option<(String, MessageDetails)>, R::Error>,
) -> Result<Message, R::Error> {
    let (created_at, updated_at) = (time(row, first + 6)?, time(row, first + 7)?);
    let present = if created_at == updated_at { None } else { present()? };
    let (content, details) = match present {
        Some((content, details)) => (content, Some(Box::new(details))),
        None => (row.value(first + 4)?, None),
    };
    // The times of a message of the first version differ only so that its details are looked up.
    let as_posted = details.as_ref().is_some_and(|details| details.version == Version::FIRST);
    let updated_at = if as_posted { created_at } else { updated_at };
    Ok(Message {
        id: id(row, first)?,
        room_id,
        author: user_ref(row, first + 1)?,
        seq: seq(row, first + 3)?,
        content: Content::from_stored(content),
        client_message_id: row.value::<Option<String>>(first + 5)?.map(ClientMessageId::from_stored),
        created_at,
        updated_at,
        details,
    })
}

/// Reads a message's details, from `first` on: `content_seq, version, edited_at`, the `id` of the editor, `deleted_at`, the `id`
/// of who deleted it, `pinned_at`, the `id` of who pinned it, and `flags`.
pub(crate) fn details<R: Columns>(row: &R, first: usize) -> Result<MessageDetails, R::Error> {
    Ok(MessageDetails {
        content_seq: seq(row, first)?,
        version: version(row, first + 1)?,
        edited_at: optional_time(row, first + 2)?,
        edited_by: optional_id(row, first + 3)?,
        deleted_at: optional_time(row, first + 4)?,
        deleted_by: optional_id(row, first + 5)?,
        pinned_at: optional_time(row, first + 6)?,
        pinned_by: optional_id(row, first + 7)?,
        removed: row.value::<i64>(first + 8)? & flags::REMOVED != 0,
    })
}

/// Adds to a message its room's `name, created_at, updated_at`, from `first` on.
pub(crate) fn message_in_room<R: Columns>(row: &R, first: usize, message: Message) -> Result<MessageInRoom, R::Error> {
    Ok(MessageInRoom {
        message,
        room_name: RoomName::from_stored(row.value(first)?),
        room_created_at: time(row, first + 1)?,
        room_updated_at: time(row, first + 2)?,
    })
}

/// Reads a version of a message with the key of its text, from `first` on: `pk, version, content, at`, and its author.
pub(crate) fn message_version<R: Columns>(row: &R, first: usize) -> Result<(i64, MessageVersion), R::Error> {
    let content = Some(row.value::<String>(first + 2)?).filter(|content| !content.is_empty()).map(Content::from_stored);
    let (version, at, by) = (version(row, first + 1)?, time(row, first + 3)?, user_ref(row, first + 4)?);
    Ok((row.value(first)?, MessageVersion { version, content, at, by }))
}

/// Reads an event other than a new message, from `first` on: `seq, kind, at`, both users, `body`.
pub(crate) fn event<R: Columns>(
    row: &R,
    first: usize,
    room_id: RoomId,
    message: Option<Box<Message>>,
) -> Result<Event, R::Error> {
    let (user, by) = (user_ref(row, first + 3)?, user_ref(row, first + 5)?);
    let fields = EventRow { user, by, message, body: row.value(first + 7)? };
    let kind = EventKind::from_row(row.text(first + 1)?, fields);
    Ok(Event { room_id, seq: seq(row, first)?, at: time(row, first + 2)?, kind })
}
