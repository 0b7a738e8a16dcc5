//! The writer's access to messages.

use chatsphere_core::store::NewMessage;
use chatsphere_core::{
    Access, ClientMessageId, EventKind, Message, MessageId, RoomId, Seq, Timestamp, User, UserId, UserRef, Username,
};
use rusqlite::{Connection, OptionalExtension, Result};

use super::SqliteWriter;
use super::deferred_index::{DeferredIndex, Listed};
use super::idempotency::find_record;
use super::writer_cache::WriterCache;
use crate::client_id_key::ClientIdKey;
use crate::flags;
use crate::sqlite::failure::failure;
use crate::sqlite::rows::{self, message_columns};
use crate::write::database::{
    AppendFacts, Author, IdMap, Keyed, MessageRow, MessageUpdate, Messages, RoomAdvance, RoomHead, Sent,
};
use crate::write::failure::Failure;
use crate::write::{Outcome, access_of};

/// Erases the contents of texts, from the one whose key `$first` selects back to the oldest. It stops at
/// the first one without content: all before it were erased with it.
macro_rules! erase_texts {
    ($first:literal) => {
        concat!(
            "WITH RECURSIVE chain (pk) AS (",
            $first,
            " UNION ALL SELECT t.prev FROM chain JOIN texts t ON t.pk = chain.pk WHERE t.content <> ''
             ) UPDATE texts SET content = '' WHERE pk IN (SELECT pk FROM chain) AND content <> ''"
        )
    };
}

/// The lane of messages that were deleted for good.
const REMOVED_LANE: i64 = 4;

impl Messages for SqliteWriter {
    async fn append_facts(&mut self, messages: &[&NewMessage], acting: IdMap<UserId, User>) -> Result<AppendFacts, Failure> {
        let Self { connection, known, lists, health, client_id_key, .. } = self;
        let mut facts = AppendFacts { acting, ..AppendFacts::default() };
        for message in messages {
            let gathered = gather(connection, known, lists, client_id_key.as_ref(), message, &mut facts);
            gathered.map_err(|error| failure(health, &error))?;
        }
        Ok(facts)
    }

    async fn insert_messages(&mut self, rows: &[MessageRow], rooms: &[RoomAdvance]) -> Result<(), Failure> {
        let Self { connection, lists, health, .. } = self;
        insert(connection, lists, rows, rooms).map_err(|error| failure(health, &error))?;
        // A room's rows are in the order of their numbers.
        for row in rows {
            if let Some(head) = self.known.rooms.get(&row.message.room_id) {
                head.seq = row.message.seq;
            }
        }
        Ok(())
    }

    async fn find_message(&mut self, room: RoomId, id: MessageId) -> Result<Option<Keyed<Message>>, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(concat!(
                    "SELECT ",
                    message_columns!(),
                    " FROM messages m JOIN users u ON u.pk = m.user_pk JOIN rooms r ON r.pk = m.room_pk
                     WHERE m.id = ?1 AND r.id = ?2"
                ))?
                .query_row((id.as_bytes(), room.as_bytes()), |row| {
                    Ok(Keyed { pk: row.get(8)?, value: rows::message(connection, row, room)? })
                })
                .optional()
        })
    }

    async fn append_text(&mut self, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        self.run(|connection| append_text(connection, update))
    }

    async fn delete_message(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        self.erased = true;
        self.run(|connection| delete_message(connection, room_pk, update))
    }

    async fn remove_message(
        &mut self,
        room_pk: i64,
        update: &MessageUpdate<'_>,
        client_id: Option<&ClientMessageId>,
    ) -> Result<(), Failure> {
        let Self { connection, known, lists, health, client_id_key, .. } = self;
        if let Some(head) = known.rooms.get(&update.message.room_id) {
            head.has_removed = true;
        }
        let forgotten = match client_id {
            Some(client_id) => forget_client_id(connection, lists, client_id_key.as_ref(), room_pk, update, client_id),
            None => Ok(()),
        };
        let removed = forgotten.and_then(|()| remove_message(connection, room_pk, update));
        removed.map_err(|error| failure(health, &error))
    }

    async fn set_pin(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        self.run(|connection| set_pin(connection, room_pk, update))
    }

    async fn count_pins(&mut self, room_pk: i64) -> Result<u64, Failure> {
        self.run(|connection| {
            let mut count = connection.prepare_cached("SELECT count(*) FROM pins WHERE room_pk = ?1")?;
            count.query_row([room_pk], |row| rows::count(row, 0))
        })
    }

    async fn forget_texts(&mut self, message_pk: i64) -> Result<(), Failure> {
        self.erased = true;
        self.run(|connection| {
            let earlier = erase_texts!("SELECT prev FROM texts WHERE pk = (SELECT head FROM changes WHERE message_pk = ?1)");
            connection.prepare_cached(earlier)?.execute([message_pk])?;
            connection.prepare_cached("UPDATE messages SET content = '' WHERE pk = ?1")?.execute([message_pk]).map(drop)
        })
    }

    async fn drop_texts(&mut self, message_pk: i64, up_to: u32) -> Result<(), Failure> {
        self.erased = true;
        self.run(|connection| drop_texts(connection, message_pk, up_to))
    }

    async fn event_time(&mut self, room_pk: i64, seq: Seq) -> Result<Option<Timestamp>, Failure> {
        self.run(|connection| {
            connection
                .prepare_cached(
                    "SELECT at FROM room_events WHERE room_pk = ?1 AND seq = ?2
                     UNION ALL SELECT created_at FROM messages WHERE room_pk = ?1 AND lane IN (0, 1, 2, 3) AND seq = ?2",
                )?
                .query_row((room_pk, rows::number(seq)), |row| rows::time(row, 0))
                .optional()
        })
    }
}

fn append_text(connection: &Connection, update: &MessageUpdate<'_>) -> Result<()> {
    let MessageUpdate { pk, message, by_pk } = update;
    let (version, at) = (message.version().get(), message.updated_at.as_millis());
    let head = connection
        .prepare_cached(
            "INSERT INTO texts (message_pk, prev, version, by_pk, at, content)
             VALUES (?1, (SELECT head FROM changes WHERE message_pk = ?1), ?2, ?3, ?4, ?5)",
        )?
        .insert((pk, version, by_pk, at, message.content.as_str()))?;
    let edited_by_pk = message.details.as_ref().and_then(|details| details.edited_by).map(|_| by_pk);
    connection
        .prepare_cached(
            "INSERT INTO changes (message_pk, content_seq, head, version, edited_at, edited_by_pk)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, head = excluded.head,
                 version = excluded.version, edited_at = excluded.edited_at, edited_by_pk = excluded.edited_by_pk",
        )?
        .execute((pk, rows::number(message.change_seq()), head, version, at, edited_by_pk))?;
    connection.prepare_cached("UPDATE messages SET updated_at = ?2 WHERE pk = ?1")?.execute((pk, at)).map(drop)
}

fn drop_texts(connection: &Connection, message_pk: i64, up_to: u32) -> Result<()> {
    let (kept, dropped): (i64, Option<i64>) = connection
        .prepare_cached(
            "WITH RECURSIVE chain (pk, prev, version) AS (
                 SELECT pk, prev, version FROM texts WHERE pk = (SELECT head FROM changes WHERE message_pk = ?1)
                 UNION ALL SELECT t.pk, t.prev, t.version FROM chain JOIN texts t ON t.pk = chain.prev WHERE t.version > ?2
             ) SELECT pk, prev FROM chain ORDER BY version LIMIT 1",
        )?
        .query_row((message_pk, up_to), |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection.prepare_cached(erase_texts!("SELECT ?1"))?.execute([dropped])?;
    // The rows stay: a row that is deleted may leave copies of itself in the file. No text has the key 0, so a reader stops.
    connection.prepare_cached("UPDATE texts SET prev = 0 WHERE pk = ?1")?.execute([kept])?;
    connection
        .prepare_cached("UPDATE messages SET content = '' WHERE pk = ?1 AND content <> ''")?
        .execute([message_pk])
        .map(drop)
}

fn delete_message(connection: &Connection, room_pk: i64, update: &MessageUpdate<'_>) -> Result<()> {
    let MessageUpdate { pk, message, by_pk } = update;
    let at = message.updated_at.as_millis();
    connection
        .prepare_cached(
            "INSERT INTO changes (message_pk, content_seq, version, deleted_at, deleted_by_pk) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, version = excluded.version,
                 deleted_at = excluded.deleted_at, deleted_by_pk = excluded.deleted_by_pk, pinned_at = NULL,
                 pinned_by_pk = NULL",
        )?
        .execute((pk, rows::number(message.change_seq()), message.version().get(), at, by_pk))?;
    unpin(connection, *pk)?;
    let all = erase_texts!("SELECT head FROM changes WHERE message_pk = ?1");
    connection.prepare_cached(all)?.execute([pk])?;
    let lane: i64 = connection
        .prepare_cached(
            "UPDATE messages SET content = '', updated_at = ?2, lane = CASE lane WHEN 0 THEN 1 WHEN 2 THEN 3 ELSE lane END
             WHERE pk = ?1 RETURNING lane",
        )?
        .query_row((pk, at), |row| row.get(0))?;
    add_lane(connection, room_pk, lane)
}

/// Records that a room has messages of a lane. That happens once in a room's life.
fn add_lane(connection: &Connection, room_pk: i64, lane: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE rooms SET lanes = lanes | (1 << ?2) WHERE pk = ?1 AND lanes >> ?2 & 1 = 0")?
        .execute((room_pk, lane))
        .map(drop)
}

fn remove_message(connection: &Connection, room_pk: i64, update: &MessageUpdate<'_>) -> Result<()> {
    let MessageUpdate { pk, by_pk, .. } = update;
    connection
        .prepare_cached("UPDATE changes SET flags = flags | ?2, edited_at = NULL, edited_by_pk = NULL WHERE message_pk = ?1")?
        .execute((pk, flags::REMOVED))?;
    connection
        .prepare_cached("UPDATE messages SET lane = ?2, client_message_id = NULL WHERE pk = ?1")?
        .execute((pk, REMOVED_LANE))?;
    connection
        .prepare_cached(
            "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk)
             SELECT room_pk, seq, ?3, ?2, ?2, created_at, pk FROM messages WHERE pk = ?1",
        )?
        .execute((pk, by_pk, EventKind::REMOVED))?;
    add_lane(connection, room_pk, REMOVED_LANE)
}

/// Replaces the `clientMessageId` of a message by its hash.
fn forget_client_id(
    connection: &Connection,
    lists: &mut DeferredIndex,
    key: Option<&ClientIdKey>,
    room_pk: i64,
    update: &MessageUpdate<'_>,
    client_id: &ClientMessageId,
) -> Result<()> {
    let MessageUpdate { pk, message, .. } = update;
    let user_pk: i64 =
        connection.prepare_cached("SELECT user_pk FROM messages WHERE pk = ?1")?.query_row([pk], |row| row.get(0))?;
    lists.remove(connection, user_pk, room_pk, client_id.as_str())?;
    let Some(key) = key else { return Ok(()) };
    let hash = key.hash(message.author.id, message.room_id, client_id);
    connection
        .prepare_cached("INSERT OR REPLACE INTO removed_client_ids (user_pk, room_pk, client_id, seq) VALUES (?1, ?2, ?3, ?4)")?
        .execute((user_pk, room_pk, hash, rows::number(message.seq)))
        .map(drop)
}

fn set_pin(connection: &Connection, room_pk: i64, update: &MessageUpdate<'_>) -> Result<()> {
    let MessageUpdate { pk, message, by_pk } = update;
    let pinned_at = message.details.as_ref().and_then(|details| details.pinned_at).map(Timestamp::as_millis);
    let (seq, by_pk) = (rows::number(message.change_seq()), pinned_at.map(|_| by_pk));
    connection
        .prepare_cached(
            "INSERT INTO changes (message_pk, content_seq, version, pinned_at, pinned_by_pk) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, pinned_at = excluded.pinned_at,
                 pinned_by_pk = excluded.pinned_by_pk",
        )?
        .execute((pk, seq, message.version().get(), pinned_at, by_pk))?;
    match pinned_at {
        Some(_) => connection
            .prepare_cached("INSERT INTO pins (room_pk, seq, message_pk) VALUES (?1, ?2, ?3)")?
            .execute((room_pk, seq, pk))
            .map(drop)?,
        None => unpin(connection, *pk)?,
    }
    mark_as_changed(connection, *pk)
}

fn unpin(connection: &Connection, pk: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM pins WHERE message_pk = ?1")?.execute([pk]).map(drop)
}

/// Makes a message's times differ, so that readers look for its row of `changes`.
fn mark_as_changed(connection: &Connection, pk: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE messages SET updated_at = created_at + 1 WHERE pk = ?1 AND updated_at = created_at")?
        .execute([pk])
        .map(drop)
}

fn insert(connection: &Connection, lists: &mut DeferredIndex, rows: &[MessageRow], rooms: &[RoomAdvance]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for MessageRow { room_pk, author_pk, message } in rows {
        let client_id = message.client_message_id.as_ref().map(|id| id.as_str());
        insert.execute((
            message.id.as_bytes(),
            room_pk,
            rows::number(message.seq),
            author_pk,
            message.content.as_str(),
            client_id,
            message.created_at.as_millis(),
            message.updated_at.as_millis(),
        ))?;
        let pk = connection.last_insert_rowid();
        lists.add(connection, Listed { pk, room_pk: *room_pk, user_pk: *author_pk, client_id })?;
    }
    lists.enter(connection)?;
    let mut advance =
        connection.prepare_cached("UPDATE rooms SET seq = ?2, message_count = message_count + ?3 WHERE pk = ?1")?;
    for room in rooms {
        advance.execute((room.pk, rows::number(room.seq), room.messages))?;
    }
    Ok(())
}

/// Adds the facts about another message. Most of them are cached, or known from the messages before.
fn gather(
    connection: &Connection,
    known: &mut WriterCache,
    lists: &mut DeferredIndex,
    client_id_key: Option<&ClientIdKey>,
    new: &NewMessage,
    facts: &mut AppendFacts,
) -> Result<()> {
    if let Some(token) = new.actor.token()
        && !facts.tokens.contains_key(&token)
        && let Some(state) = known.token(connection, token)?
    {
        facts.tokens.insert(token, state);
    }
    let Some(room_pk) = room_pk(connection, known, new.room_id, facts)? else { return Ok(()) };
    let author_pk = author_pk(connection, known, new.author, facts)?;
    // The membership of a rejected message is not needed.
    if let Ok(Access::Member(user)) = access_of(new, facts) {
        let membership = (new.room_id, user);
        if !facts.members.contains(&membership) && is_known_member(connection, known, membership, room_pk, facts)? {
            facts.members.insert(membership);
        }
    }
    if let (Some(client_id), Some(author_pk)) = (&new.client_message_id, author_pk) {
        let sent = match lists.find(connection, author_pk, room_pk, client_id.as_str())? {
            Some(pk) => sent(connection, new.room_id, pk, (author_pk, room_pk, client_id.as_str()))?,
            None => {
                let has_removed = facts.rooms.get(&new.room_id).is_some_and(|head| head.has_removed);
                let key = client_id_key.filter(|_| has_removed);
                key.map_or(Ok(None), |key| removed(connection, key, new, client_id, (author_pk, room_pk)))?
            }
        };
        facts.sent.extend(sent.map(|sent| ((new.room_id, new.author, client_id.clone()), sent)));
    }
    if let Some(idempotency) = &new.idempotency
        && let Some(record) = find_record(connection, &idempotency.key)?
    {
        if let Some(Outcome::Message { room, seq }) = record.outcome
            && let Some(message) = message_at(connection, room, seq)?
        {
            facts.answered.insert((room, seq), message);
        }
        facts.records.insert(idempotency.key, record);
    }
    Ok(())
}

fn room_pk(connection: &Connection, known: &mut WriterCache, id: RoomId, facts: &mut AppendFacts) -> Result<Option<i64>> {
    if let Some(head) = facts.rooms.get(&id) {
        return Ok(Some(head.pk));
    }
    let head = match known.rooms.get(&id) {
        Some(head) => *head,
        None => {
            let Some(head) = room_head(connection, id)? else { return Ok(None) };
            known.rooms.insert(id, head, 1);
            head
        }
    };
    facts.rooms.insert(id, head);
    Ok(Some(head.pk))
}

fn author_pk(connection: &Connection, known: &mut WriterCache, id: UserId, facts: &mut AppendFacts) -> Result<Option<i64>> {
    if let Some(author) = facts.authors.get(&id) {
        return Ok(Some(author.pk));
    }
    let author = match known.authors.get(&id) {
        Some(author) => author.clone(),
        None => {
            let Some(author) = author(connection, id)? else { return Ok(None) };
            known.authors.insert(id, author.clone(), 1);
            author
        }
    };
    let pk = author.pk;
    facts.authors.insert(id, author);
    Ok(Some(pk))
}

fn is_known_member(
    connection: &Connection,
    known: &mut WriterCache,
    membership: (RoomId, UserId),
    room_pk: i64,
    facts: &mut AppendFacts,
) -> Result<bool> {
    if known.members.get(&membership).is_some() {
        return Ok(true);
    }
    let user_pk = author_pk(connection, known, membership.1, facts)?;
    let is_member = user_pk.map_or(Ok(false), |user_pk| is_member(connection, room_pk, user_pk))?;
    if is_member {
        known.members.insert(membership, (), 1);
    }
    Ok(is_member)
}

pub(super) fn room_head(connection: &Connection, id: RoomId) -> Result<Option<RoomHead>> {
    connection
        .prepare_cached("SELECT pk, seq, lanes >> 4 & 1 FROM rooms WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok(RoomHead { pk: row.get(0)?, seq: rows::seq(row, 1)?, has_removed: row.get(2)? }))
        .optional()
}

fn author(connection: &Connection, id: UserId) -> Result<Option<Author>> {
    connection
        .prepare_cached("SELECT pk, username FROM users WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| {
            Ok(Author { pk: row.get(0)?, user: UserRef { id, username: Username::from_stored(row.get_ref(1)?.as_str()?) } })
        })
        .optional()
}

pub(super) fn is_member(connection: &Connection, room_pk: i64, user_pk: i64) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM members WHERE user_pk = ?1 AND room_pk = ?2")?.exists((user_pk, room_pk))
}

/// Returns the message with this key, if it has these ids.
fn sent(connection: &Connection, room: RoomId, pk: i64, key: (i64, i64, &str)) -> Result<Option<Sent>> {
    let (author_pk, room_pk, client_id) = key;
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages m JOIN users u ON u.pk = m.user_pk WHERE m.pk = ?1 AND m.user_pk = ?2 AND m.room_pk = ?3 AND \
             m.client_message_id = ?4"
        ))?
        .query_row((pk, author_pk, room_pk, client_id), |row| {
            Ok(Sent { message: rows::message(connection, row, room)?, first: row.get(4)? })
        })
        .optional()
}

/// Returns what is left of the message with this `clientMessageId`, if it was deleted for good.
fn removed(
    connection: &Connection,
    key: &ClientIdKey,
    new: &NewMessage,
    client_id: &ClientMessageId,
    (author_pk, room_pk): (i64, i64),
) -> Result<Option<Sent>> {
    let hash = key.hash(new.author, new.room_id, client_id);
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM removed_client_ids x CROSS JOIN messages m ON m.room_pk = x.room_pk AND m.lane = 4 AND m.seq = x.seq
             JOIN users u ON u.pk = m.user_pk WHERE x.user_pk = ?1 AND x.room_pk = ?2 AND x.client_id = ?3"
        ))?
        .query_row((author_pk, room_pk, hash), |row| {
            Ok(Sent { message: rows::message(connection, row, new.room_id)?, first: String::new() })
        })
        .optional()
}

fn message_at(connection: &Connection, room: RoomId, seq: Seq) -> Result<Option<Message>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM rooms r JOIN messages m ON m.room_pk = r.pk JOIN users u ON u.pk = m.user_pk
             WHERE r.id = ?1 AND m.lane IN (0, 1, 2, 3, 4) AND m.seq = ?2"
        ))?
        .query_row((room.as_bytes(), rows::number(seq)), |row| rows::message(connection, row, room))
        .optional()
}
