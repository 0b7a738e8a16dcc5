//! The writer's access to messages: a few statements for a run of messages, whatever its length.

use chatsphere_core::store::NewMessage;
use chatsphere_core::{
    Access, ClientMessageId, EventKind, Message, MessageId, RoomId, Seq, Timestamp, TokenId, User, UserId, UserRef, Username,
};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresWriter;
use super::idempotency::{FIND_RECORDS, found_record};
use super::keys::Keys;
use super::session::Session;
use crate::client_id_key::ClientIdKey;
use crate::flags;
use crate::postgres::failure::Cause;
use crate::postgres::rows::{self, MESSAGE_COLUMNS, join_author, message_columns, number, present_messages};
use crate::write::database::{
    AppendFacts, Author, IdMap, Keyed, MessageRow, MessageUpdate, Messages, RoomAdvance, RoomHead, Sent,
};
use crate::write::failure::Failure;
use crate::write::{Outcome, access_of};

pub(super) const ROOMS: &str = "SELECT id, pk, seq, lanes & 16 <> 0 FROM rooms WHERE id = ANY ($1)";
const AUTHORS: &str = "SELECT id, pk, username FROM users WHERE id = ANY ($1)";
const MEMBERS: &str =
    "SELECT asked.number FROM UNNEST($1::bigint[], $2::bigint[]) WITH ORDINALITY AS asked (room_pk, user_pk, number)
    CROSS JOIN LATERAL (SELECT FROM members WHERE user_pk = asked.user_pk AND room_pk = asked.room_pk LIMIT 1) AS m";
const SENT: &str = concat!(
    "SELECT asked.room, ",
    message_columns!(),
    ", (SELECT content FROM messages WHERE pk = m.pk) AS first
     FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::uuid[]) AS asked (room_pk, user_pk, client_id, room)
     CROSS JOIN LATERAL (",
    present_messages!(
        "WHERE m.user_pk = asked.user_pk AND m.room_pk = asked.room_pk
             AND m.client_message_id = asked.client_id AND m.client_message_id IS NOT NULL LIMIT 1"
    ),
    ") AS m",
    join_author!()
);
const REMOVED: &str = concat!(
    "SELECT asked.number, ",
    message_columns!(),
    " FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS asked (room_pk, user_pk, client_id, number)
     CROSS JOIN LATERAL (
         SELECT seq FROM removed_client_ids
         WHERE user_pk = asked.user_pk AND room_pk = asked.room_pk AND client_id = asked.client_id LIMIT 1
     ) AS x CROSS JOIN LATERAL (",
    present_messages!("WHERE m.room_pk = asked.room_pk AND m.lane = 4 AND m.seq = x.seq LIMIT 1"),
    ") AS m",
    join_author!()
);
const ANSWERED: &str = concat!(
    "SELECT r.id AS room_id, ",
    message_columns!(),
    " FROM UNNEST($1::uuid[], $2::bigint[]) AS asked (room, seq)
     CROSS JOIN LATERAL (SELECT pk, id FROM rooms WHERE id = asked.room LIMIT 1) AS r
     CROSS JOIN LATERAL (",
    present_messages!("WHERE m.room_pk = r.pk AND m.lane = ANY ('{0,1,2,3,4}') AND m.seq = asked.seq LIMIT 1"),
    ") AS m",
    join_author!()
);
const FOUND: &str = concat!(
    "SELECT m.pk, ",
    message_columns!(),
    " FROM (",
    present_messages!("WHERE m.id = $1 AND m.room_pk = (SELECT pk FROM rooms WHERE id = $2) LIMIT 1"),
    ") AS m",
    join_author!()
);
const APPEND_TEXT: &str = "WITH text AS (
        INSERT INTO texts (message_pk, prev, version, by_pk, at, content)
        VALUES ($1, (SELECT head FROM changes WHERE message_pk = $1), $2, $3, $4, $5) RETURNING pk
    ), change AS (
        INSERT INTO changes (message_pk, content_seq, head, version, edited_at, edited_by_pk)
        SELECT $1, $6, pk, $2, $4, $7 FROM text
        ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, head = excluded.head,
            version = excluded.version, edited_at = excluded.edited_at, edited_by_pk = excluded.edited_by_pk
    ) UPDATE messages SET updated_at = $4 WHERE pk = $1";
/// Erases, in the CTE `emptied`, the contents of the texts of message `$1`, from the one whose key `$first` selects back to the
/// oldest. It stops at the first one without content: all before it were erased with it.
macro_rules! erase_texts {
    ($first:literal) => {
        concat!(
            "WITH RECURSIVE chain (text_pk) AS (",
            $first,
            " UNION ALL SELECT t.prev FROM chain
             CROSS JOIN LATERAL (SELECT prev FROM texts WHERE pk = chain.text_pk AND content <> '' LIMIT 1) AS t
             ), emptied AS (
                 UPDATE texts SET content = '' WHERE pk IN (SELECT text_pk FROM chain) AND content <> ''
             )"
        )
    };
}
const DELETE_MESSAGE: &str = concat!(
    erase_texts!("SELECT head FROM changes WHERE message_pk = $1"),
    ", change AS (
         INSERT INTO changes (message_pk, content_seq, version, deleted_at, deleted_by_pk) VALUES ($1, $3, $4, $2, $5)
         ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, version = excluded.version,
             deleted_at = excluded.deleted_at, deleted_by_pk = excluded.deleted_by_pk, pinned_at = NULL, pinned_by_pk = NULL
     ), unpinned AS (
         DELETE FROM pins WHERE message_pk = $1
     ), moved AS (
         UPDATE messages SET content = '', updated_at = $2, lane = CASE lane WHEN 0 THEN 1 WHEN 2 THEN 3 ELSE lane END
         WHERE pk = $1 RETURNING lane
     ) UPDATE rooms SET lanes = lanes | (1 << moved.lane) FROM moved WHERE rooms.pk = $6 AND lanes >> moved.lane & 1 = 0"
);
/// `$6` is the hash of the `clientMessageId`, or null.
const REMOVE_MESSAGE: &str = "WITH change AS (
        UPDATE changes SET flags = flags | $3::integer, edited_at = NULL, edited_by_pk = NULL WHERE message_pk = $1
    ), moved AS (
        UPDATE messages SET lane = 4, client_message_id = NULL WHERE pk = $1 RETURNING pk, room_pk, seq, user_pk, created_at
    ), event AS (
        INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk)
        SELECT room_pk, seq, $4, $2, $2, created_at, pk FROM moved
    ), hashed AS (
        INSERT INTO removed_client_ids (user_pk, room_pk, client_id, seq)
        SELECT user_pk, room_pk, $6, seq FROM moved WHERE $6::bytea IS NOT NULL
        ON CONFLICT (user_pk, room_pk, client_id) DO UPDATE SET seq = excluded.seq
    ) UPDATE rooms SET lanes = lanes | 16 WHERE pk = $5 AND lanes & 16 = 0";
/// Pins a message or, if `$4` is null, unpins it. Its times are made to differ, so that readers look for its row of `changes`.
const SET_PIN: &str = "WITH change AS (
        INSERT INTO changes (message_pk, content_seq, version, pinned_at, pinned_by_pk) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (message_pk) DO UPDATE SET content_seq = excluded.content_seq, pinned_at = excluded.pinned_at,
            pinned_by_pk = excluded.pinned_by_pk
    ), pinned AS (
        INSERT INTO pins (room_pk, seq, message_pk) SELECT $6, $2, $1 WHERE $4::bigint IS NOT NULL
    ), unpinned AS (
        DELETE FROM pins WHERE message_pk = $1 AND $4::bigint IS NULL
    ) UPDATE messages SET updated_at = created_at + 1 WHERE pk = $1 AND updated_at = created_at";
const COUNT_PINS: &str = "SELECT count(*) FROM pins WHERE room_pk = $1";
const FORGET_TEXTS: &str = concat!(
    erase_texts!("SELECT prev FROM texts WHERE pk = (SELECT head FROM changes WHERE message_pk = $1)"),
    " UPDATE messages SET content = '' WHERE pk = $1"
);
/// Erases the versions of message `$1` up to `$2`, and ends the chain of the others before them.
const DROP_TEXTS: &str = "WITH RECURSIVE kept (text_pk, prev, version) AS (
         SELECT pk, prev, version FROM texts WHERE pk = (SELECT head FROM changes WHERE message_pk = $1)
         UNION ALL SELECT t.pk, t.prev, t.version FROM kept
         CROSS JOIN LATERAL (SELECT pk, prev, version FROM texts WHERE pk = kept.prev LIMIT 1) AS t WHERE t.version > $2
     ), oldest AS (
         SELECT text_pk, prev FROM kept ORDER BY version LIMIT 1
     ), chain (text_pk) AS (
         SELECT prev FROM oldest UNION ALL SELECT t.prev FROM chain
         CROSS JOIN LATERAL (SELECT prev FROM texts WHERE pk = chain.text_pk AND content <> '' LIMIT 1) AS t
     ), emptied AS (
         UPDATE texts SET content = '' WHERE pk IN (SELECT text_pk FROM chain) AND content <> ''
     ), ended AS (
         UPDATE texts SET prev = 0 FROM oldest WHERE texts.pk = oldest.text_pk
     ) UPDATE messages SET content = '' WHERE pk = $1 AND content <> ''";
const EVENT_TIME: &str = "SELECT at FROM room_events WHERE room_pk = $1 AND seq = $2
    UNION ALL SELECT created_at FROM messages WHERE room_pk = $1 AND lane = ANY ('{0,1,2,3}') AND seq = $2";
const INSERT: &str = "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
    SELECT id, room_pk, seq, user_pk, content, client_message_id, at, at
    FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[])
        AS new (id, room_pk, seq, user_pk, content, client_message_id, at)";
const ADVANCE: &str = "UPDATE rooms SET seq = ($2::bigint[])[array_position($1, pk)],
        message_count = message_count + ($3::bigint[])[array_position($1, pk)]
    WHERE pk = ANY ($1::bigint[])";

impl Messages for PostgresWriter {
    async fn append_facts(&mut self, messages: &[&NewMessage], acting: IdMap<UserId, User>) -> Result<AppendFacts, Failure> {
        let mut tokens: Vec<TokenId> = messages.iter().filter_map(|message| message.actor.token()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let tokens = self.run(|session| async move { session.token_states(&tokens).await }).await?;
        let facts = AppendFacts { tokens, acting, ..AppendFacts::default() };
        let asked = Asked::new(messages, &facts);
        let client_id_key = self.client_id_key.clone();
        self.run(|session| async move { asked.answer(&session, facts, client_id_key.as_ref()).await }).await
    }

    async fn insert_messages(&mut self, rows: &[MessageRow], rooms: &[RoomAdvance]) -> Result<(), Failure> {
        let ids: Vec<Uuid> = rows.iter().map(|row| *row.message.id.as_uuid()).collect();
        let room_pks: Vec<i64> = rows.iter().map(|row| row.room_pk).collect();
        let seqs: Vec<i64> = rows.iter().map(|row| number(row.message.seq)).collect();
        let author_pks: Vec<i64> = rows.iter().map(|row| row.author_pk).collect();
        let contents: Vec<&str> = rows.iter().map(|row| row.message.content.as_str()).collect();
        let client_ids: Vec<Option<&str>> =
            rows.iter().map(|row| row.message.client_message_id.as_ref().map(|id| id.as_str())).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.message.created_at.as_millis()).collect();
        let pks: Vec<i64> = rooms.iter().map(|room| room.pk).collect();
        let heads: Vec<i64> = rooms.iter().map(|room| number(room.seq)).collect();
        let counts: Vec<i64> = rooms.iter().map(|room| room.messages).collect();
        self.run(|session| async move {
            // Biased, so that the error is the first one: the later ones only say that the transaction has failed.
            tokio::try_join!(
                biased;
                async { session.change(INSERT, &[&ids, &room_pks, &seqs, &author_pks, &contents, &client_ids, &times]).await },
                async { session.change(ADVANCE, &[&pks, &heads, &counts]).await },
            )
            .map(drop)
        })
        .await
    }

    async fn find_message(&mut self, room: RoomId, id: MessageId) -> Result<Option<Keyed<Message>>, Failure> {
        let found = self.query(FOUND, &[id.as_uuid(), room.as_uuid()]).await?;
        let keyed = |row: &Row| Ok(Keyed { pk: row.try_get(0)?, value: rows::message(row, 1, room)? });
        self.read(found.first().map(keyed).transpose())
    }

    async fn append_text(&mut self, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        let MessageUpdate { pk, message, by_pk } = update;
        let (version, seq) = (i64::from(message.version().get()), number(message.change_seq()));
        let (content, at) = (message.content.as_str(), message.updated_at.as_millis());
        let edited_by_pk = message.details.as_ref().and_then(|details| details.edited_by).map(|_| *by_pk);
        self.run(|session| async move {
            let params: &[&(dyn ToSql + Sync)] = &[pk, &version, by_pk, &at, &content, &seq, &edited_by_pk];
            session.change(APPEND_TEXT, params).await.map(drop)
        })
        .await
    }

    async fn delete_message(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        let MessageUpdate { pk, message, by_pk } = update;
        let (version, seq) = (i64::from(message.version().get()), number(message.change_seq()));
        let at = message.updated_at.as_millis();
        self.run(|session| async move {
            session.change(DELETE_MESSAGE, &[pk, &at, &seq, &version, by_pk, &room_pk]).await.map(drop)
        })
        .await
    }

    async fn remove_message(
        &mut self,
        room_pk: i64,
        update: &MessageUpdate<'_>,
        client_id: Option<&ClientMessageId>,
    ) -> Result<(), Failure> {
        let MessageUpdate { pk, message, by_pk } = update;
        let removed = i32::try_from(flags::REMOVED).unwrap_or_default();
        let key = self.client_id_key.as_ref().zip(client_id);
        let hash = key.map(|(key, client_id)| key.hash(message.author.id, message.room_id, client_id));
        self.run(|session| async move {
            session.change(REMOVE_MESSAGE, &[pk, by_pk, &removed, &EventKind::REMOVED, &room_pk, &hash]).await.map(drop)
        })
        .await
    }

    async fn set_pin(&mut self, room_pk: i64, update: &MessageUpdate<'_>) -> Result<(), Failure> {
        let MessageUpdate { pk, message, by_pk } = update;
        let (version, seq) = (i64::from(message.version().get()), number(message.change_seq()));
        let pinned_at = message.details.as_ref().and_then(|details| details.pinned_at).map(Timestamp::as_millis);
        let by_pk = pinned_at.map(|_| *by_pk);
        self.run(|session| async move {
            session.change(SET_PIN, &[pk, &seq, &version, &pinned_at, &by_pk, &room_pk]).await.map(drop)
        })
        .await
    }

    async fn count_pins(&mut self, room_pk: i64) -> Result<u64, Failure> {
        let found = self.query(COUNT_PINS, &[&room_pk]).await?;
        Ok(self.read(found.first().map(|row| rows::count(row, 0)).transpose())?.unwrap_or_default())
    }

    async fn forget_texts(&mut self, message_pk: i64) -> Result<(), Failure> {
        self.run(|session| async move { session.change(FORGET_TEXTS, &[&message_pk]).await.map(drop) }).await
    }

    async fn drop_texts(&mut self, message_pk: i64, up_to: u32) -> Result<(), Failure> {
        self.run(|session| async move { session.change(DROP_TEXTS, &[&message_pk, &i64::from(up_to)]).await.map(drop) }).await
    }

    async fn event_time(&mut self, room_pk: i64, seq: Seq) -> Result<Option<Timestamp>, Failure> {
        let found = self.query(EVENT_TIME, &[&room_pk, &number(seq)]).await?;
        self.read(found.first().map(|row| rows::time(row, 0)).transpose())
    }
}

/// The look-ups for a run of messages.
#[derive(Default)]
struct Asked {
    rooms: Vec<Uuid>,
    users: Vec<Uuid>,
    members: Vec<(RoomId, UserId)>,
    sent: Vec<(Uuid, Uuid, ClientMessageId)>,
    keys: Vec<Vec<u8>>,
}

impl Asked {
    /// Collects the look-ups. `facts` already has the tokens.
    fn new(messages: &[&NewMessage], facts: &AppendFacts) -> Self {
        let mut asked = Self::default();
        for message in messages {
            asked.rooms.push(*message.room_id.as_uuid());
            asked.users.push(*message.author.as_uuid());
            if let Ok(Access::Member(user)) = access_of(message, facts) {
                asked.members.push((message.room_id, user));
            }
            if let Some(client_id) = &message.client_message_id {
                asked.sent.push((*message.room_id.as_uuid(), *message.author.as_uuid(), client_id.clone()));
            }
            asked.keys.extend(message.idempotency.map(|idempotency| idempotency.key.to_vec()));
        }
        for ids in [&mut asked.rooms, &mut asked.users] {
            ids.sort_unstable();
            ids.dedup();
        }
        asked.members.sort_unstable();
        asked.members.dedup();
        asked
    }

    /// Returns the memberships to look up, among rooms and users that exist, by their keys.
    fn known_members(&self, keys: &Keys) -> KnownMembers {
        let mut known = KnownMembers::default();
        for (room, user) in &self.members {
            if let Some((room_pk, user_pk)) = keys.of(room.as_uuid(), user.as_uuid()) {
                known.asked.push((*room, *user));
                known.room_pks.push(room_pk);
                known.user_pks.push(user_pk);
            }
        }
        known
    }

    /// The same for messages with a `clientMessageId`.
    fn known_sent(&self, keys: &Keys) -> KnownSent<'_> {
        let mut known = KnownSent::default();
        for (room, user, client_id) in &self.sent {
            if let Some((room_pk, user_pk)) = keys.of(room, user) {
                known.rooms.push(*room);
                known.room_pks.push(room_pk);
                known.user_pks.push(user_pk);
                known.client_ids.push(client_id.as_str());
            }
        }
        known
    }

    /// Returns the hashes of the `clientMessageId`s that may be those of messages that were deleted for good.
    fn removed<'a>(&'a self, facts: &AppendFacts, key: &ClientIdKey) -> AskedRemoved<'a> {
        let mut asked = AskedRemoved::default();
        for (room, user, client_id) in &self.sent {
            let (room_id, author) = (RoomId::from_uuid(*room), UserId::from_uuid(*user));
            let Some(head) = facts.rooms.get(&room_id).filter(|head| head.has_removed) else { continue };
            let Some(row) = facts.authors.get(&author) else { continue };
            asked.sent.push((room_id, author, client_id));
            asked.room_pks.push(head.pk);
            asked.user_pks.push(row.pk);
            asked.hashes.push(key.hash(author, room_id, client_id));
        }
        asked
    }

    async fn answer(
        self,
        session: &Session,
        facts: AppendFacts,
        client_id_key: Option<&ClientIdKey>,
    ) -> Result<AppendFacts, Cause> {
        let mut users = self.users.clone();
        users.extend(self.members.iter().map(|(_, user)| *user.as_uuid()));
        let known = |keys: &Keys| (self.known_members(keys), self.known_sent(keys));
        let (members, sent) = session.with_keys(&self.rooms, &users, known).await?;
        let sent_rows = async {
            match sent.rooms.is_empty() {
                true => Ok(Vec::new()),
                false => session.query(SENT, &[&sent.room_pks, &sent.user_pks, &sent.client_ids, &sent.rooms]).await,
            }
        };
        let record_rows = async {
            match self.keys.is_empty() {
                true => Ok(Vec::new()),
                false => session.query(FIND_RECORDS, &[&self.keys]).await,
            }
        };
        let (rooms, authors, member_rows, sent_rows, record_rows) = tokio::try_join!(
            async { session.query(ROOMS, &[&self.rooms]).await },
            async { session.query(AUTHORS, &[&self.users]).await },
            async { session.query(MEMBERS, &[&members.room_pks, &members.user_pks]).await },
            sent_rows,
            record_rows,
        )?;
        let mut facts = AppendFacts {
            rooms: rooms.iter().map(room_head).collect::<Result<_, _>>()?,
            authors: authors.iter().map(author).collect::<Result<_, _>>()?,
            members: member_rows.iter().map(|row| members.named(row)).collect::<Result<_, _>>()?,
            sent: sent_rows.iter().filter_map(|row| sent_before(row).transpose()).collect::<Result<_, _>>()?,
            records: record_rows.iter().map(found_record).collect::<Result<_, _>>()?,
            ..facts
        };
        // Most rooms have no messages that were deleted for good.
        let removed = client_id_key.map(|key| self.removed(&facts, key)).unwrap_or_default();
        if !removed.sent.is_empty() {
            let rows = session.query(REMOVED, &[&removed.room_pks, &removed.user_pks, &removed.hashes]).await?;
            for row in &rows {
                let (key, sent) = removed.found(row)?;
                facts.sent.entry(key).or_insert(sent);
            }
        }
        let named = facts.records.values().filter_map(|record| match record.outcome {
            Some(Outcome::Message { room, seq }) => Some((*room.as_uuid(), number(seq))),
            _ => None,
        });
        let (rooms, seqs): (Vec<Uuid>, Vec<i64>) = named.unzip();
        if !rooms.is_empty() {
            let answered = session.query(ANSWERED, &[&rooms, &seqs]).await?;
            facts.answered = answered.iter().map(answered_message).collect::<Result<_, _>>()?;
        }
        Ok(facts)
    }
}

/// Memberships to look up, by the keys of their rooms and users.
#[derive(Default)]
struct KnownMembers {
    asked: Vec<(RoomId, UserId)>,
    room_pks: Vec<i64>,
    user_pks: Vec<i64>,
}

impl KnownMembers {
    /// Returns the membership of a row of the answer, which has its index in the parameters, counted from 1.
    fn named(&self, row: &Row) -> Result<(RoomId, UserId), Cause> {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| self.asked.get(place)).copied().ok_or(Cause::Foreign("a membership that was not asked for"))
    }
}

/// `clientMessageId`s to look up among those of messages that were deleted for good.
#[derive(Default)]
struct AskedRemoved<'a> {
    sent: Vec<(RoomId, UserId, &'a ClientMessageId)>,
    room_pks: Vec<i64>,
    user_pks: Vec<i64>,
    hashes: Vec<Vec<u8>>,
}

impl AskedRemoved<'_> {
    /// Returns the message of a row of the answer, which begins with its index in the parameters, counted from 1.
    fn found(&self, row: &Row) -> Result<SentBefore, Cause> {
        let place = usize::try_from(row.try_get::<_, i64>(0)?).ok().and_then(|number| number.checked_sub(1));
        let asked = place.and_then(|place| self.sent.get(place));
        let (room, author, client_id) = *asked.ok_or(Cause::Foreign("a message that was not asked for"))?;
        let sent = Sent { message: rows::message(row, 1, room)?, first: String::new() };
        Ok(((room, author, client_id.clone()), sent))
    }
}

/// Messages to look up, by the keys of their rooms and authors.
#[derive(Default)]
struct KnownSent<'a> {
    rooms: Vec<Uuid>,
    room_pks: Vec<i64>,
    user_pks: Vec<i64>,
    client_ids: Vec<&'a str>,
}

pub(super) fn room_head(row: &Row) -> Result<(RoomId, RoomHead), Cause> {
    Ok((rows::id(row, 0)?, RoomHead { pk: row.try_get(1)?, seq: rows::seq(row, 2)?, has_removed: row.try_get(3)? }))
}

fn author(row: &Row) -> Result<(UserId, Author), Cause> {
    let id = rows::id(row, 0)?;
    Ok((id, Author { pk: row.try_get(1)?, user: UserRef { id, username: Username::from_stored(row.try_get::<_, &str>(2)?) } }))
}

type SentBefore = ((RoomId, UserId, ClientMessageId), Sent);

fn sent_before(row: &Row) -> Result<Option<SentBefore>, Cause> {
    let message = rows::message(row, 1, rows::id(row, 0)?)?;
    let key = message.client_message_id.clone().map(|client_id| (message.room_id, message.author.id, client_id));
    let first = row.try_get(1 + MESSAGE_COLUMNS)?;
    Ok(key.map(|key| (key, Sent { message, first })))
}

fn answered_message(row: &Row) -> Result<((RoomId, Seq), Message), Cause> {
    let message = rows::message(row, 1, rows::id(row, 0)?)?;
    Ok(((message.room_id, message.seq), message))
}
