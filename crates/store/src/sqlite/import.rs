//! Imports the Node.js version's data into SQLite. No server may run meanwhile, because its writer caches rows.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use chatsphere_core::NameKeys;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::installation;
use super::start::prepare;
use crate::fingerprints::KeyFingerprints;
use crate::import::{ImportError, MemberIn, MessageIn, RoomIn, Tally, Target, UserIn};

const WRONG: &str = "SELECT 1 FROM rooms r WHERE r.id = ?1 AND (
    r.message_count <> (SELECT count(*) FROM messages WHERE room_pk = r.pk)
    OR r.seq <> r.message_count + (SELECT count(*) FROM room_events WHERE room_pk = r.pk)
    OR r.seq <> max(
        coalesce((SELECT max(seq) FROM messages WHERE room_pk = r.pk), 0),
        coalesce((SELECT max(seq) FROM room_events WHERE room_pk = r.pk), 0)
    )
    OR r.member_count <> coalesce((
        SELECT sum(CASE kind WHEN 'member_joined' THEN 1 WHEN 'member_left' THEN -1 ELSE 0 END)
        FROM room_events WHERE room_pk = r.pk
    ), 0)
)";
/// Selects a name that exists, or that looks like a privileged user's. Each part has an index of its own.
const TAKEN: &str = "SELECT 1 FROM users WHERE username = ?1
    UNION ALL
    SELECT 1 FROM (
        SELECT pk, role FROM users WHERE name_key = ?2 UNION ALL SELECT pk, role FROM users WHERE name_look = ?3
    ) AS u
    WHERE u.role <> 'MEMBER'
       OR EXISTS (SELECT 1 FROM tokens t WHERE t.user_pk = u.pk AND t.kind = 'CLIENT' AND t.revoked_at IS NULL)";
/// Inserts all messages that are in none of the lists.
const LIST: &str = "INSERT OR IGNORE INTO messages_by_author
    SELECT user_pk, pk FROM messages WHERE pk > (SELECT up_to FROM messages_listed) ORDER BY user_pk, pk;
    INSERT OR IGNORE INTO messages_by_client_id
    SELECT user_pk, room_pk, client_message_id, pk FROM messages
    WHERE pk > (SELECT up_to FROM messages_listed) AND client_message_id IS NOT NULL;
    UPDATE messages_listed SET up_to = (SELECT coalesce(max(pk), 0) FROM messages);";

/// The target of an import. Its methods block, because nothing else runs meanwhile.
pub(crate) struct SqliteTarget {
    connection: Connection,
}

/// The row of a room within a transaction.
struct Head {
    pk: i64,
    seq: i64,
    owner_pk: i64,
    created_at: i64,
    messages: i64,
    members: i64,
}

impl SqliteTarget {
    /// Creates or migrates the tables, and joins the installation, as a server's start does.
    pub(crate) fn open(path: &Path, url: &str, keys: &KeyFingerprints) -> Result<Self, ImportError> {
        let (mut connection, _) = prepare(path, url)?;
        installation::join(url, &mut connection, keys)?;
        Ok(Self { connection })
    }

    fn transaction<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, ImportError> {
        let run = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(failed)
    }
}

fn failed(error: rusqlite::Error) -> ImportError {
    ImportError::Target(error.to_string())
}

/// Returns the room, which each transaction looks up once.
fn head<'a>(
    connection: &Connection,
    heads: &'a mut HashMap<Uuid, Option<Head>>,
    room: Uuid,
) -> rusqlite::Result<Option<&'a mut Head>> {
    let found = match heads.entry(room) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(place) => place.insert(find_room(connection, room)?),
    };
    Ok(found.as_mut())
}

fn find_room(connection: &Connection, room: Uuid) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT pk, seq, owner_pk, created_at FROM rooms WHERE id = ?1")?
        .query_row([room.as_bytes()], |row| {
            let (pk, seq, owner_pk, created_at) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Head { pk, seq, owner_pk, created_at, messages: 0, members: 0 })
        })
        .optional()
}

fn user_pk(connection: &Connection, users: &mut HashMap<Uuid, Option<i64>>, user: Uuid) -> rusqlite::Result<Option<i64>> {
    if let Some(pk) = users.get(&user) {
        return Ok(*pk);
    }
    let pk = find_user(connection, user)?;
    users.insert(user, pk);
    Ok(pk)
}

fn find_user(connection: &Connection, user: Uuid) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT pk FROM users WHERE id = ?1")?.query_row([user.as_bytes()], |row| row.get(0)).optional()
}

/// Returns which of these memberships have ended, as keys of the room and the user; they are not added again. Each room's
/// events are read once.
fn gone(
    connection: &Connection,
    heads: &mut HashMap<Uuid, Option<Head>>,
    users: &mut HashMap<Uuid, Option<i64>>,
    members: &[MemberIn],
) -> rusqlite::Result<HashSet<(i64, i64)>> {
    let mut asked: HashMap<i64, Vec<i64>> = HashMap::new();
    for member in members {
        if let Some(user_pk) = user_pk(connection, users, member.user)?
            && let Some(head) = head(connection, heads, member.room)?
        {
            asked.entry(head.pk).or_default().push(user_pk);
        }
    }
    let mut left = connection.prepare_cached(
        "SELECT user_pk FROM room_events
         WHERE room_pk = ?1 AND kind = 'member_left' AND user_pk IN (SELECT value FROM json_each(?2))",
    )?;
    let mut gone = HashSet::new();
    for (room_pk, pks) in asked {
        let pks = serde_json::Value::from(pks).to_string();
        for user_pk in left.query_map((room_pk, pks), |row| row.get(0))? {
            gone.insert((room_pk, user_pk?));
        }
    }
    Ok(gone)
}

/// Updates the `seq` and counts of the rooms' rows.
fn advance(connection: &Connection, heads: HashMap<Uuid, Option<Head>>) -> rusqlite::Result<()> {
    let mut advance = connection.prepare_cached(
        "UPDATE rooms SET seq = ?2, message_count = message_count + ?3, member_count = member_count + ?4 WHERE pk = ?1",
    )?;
    for head in heads.into_values().flatten().filter(|head| head.messages > 0 || head.members > 0) {
        advance.execute((head.pk, head.seq, head.messages, head.members))?;
    }
    Ok(())
}

impl Target for SqliteTarget {
    async fn user_named(&mut self, name: &str, id: Uuid) -> Result<Option<Uuid>, ImportError> {
        let sql = "SELECT id FROM users WHERE username = ?1 OR id = ?2 ORDER BY username = ?1 DESC LIMIT 1";
        let found = self.connection.query_row(sql, (name, id.as_bytes()), |row| row.get(0).map(Uuid::from_bytes)).optional();
        found.map_err(failed)
    }

    async fn known_users(&mut self, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError> {
        let mut known = HashSet::new();
        for id in ids {
            if find_user(&self.connection, *id).map_err(failed)?.is_some() {
                known.insert(*id);
            }
        }
        Ok(known)
    }

    async fn names_taken(&mut self, names: &[String]) -> Result<HashSet<String>, ImportError> {
        let mut taken = HashSet::new();
        let mut find = self.connection.prepare_cached(TAKEN).map_err(failed)?;
        for name in names {
            let keys = NameKeys::of(name);
            if find.exists((name, &keys.key, &keys.look)).map_err(failed)? {
                taken.insert(name.clone());
            }
        }
        Ok(taken)
    }

    async fn add_users(&mut self, users: &[UserIn]) -> Result<u64, ImportError> {
        self.transaction(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO users (id, username, role, disabled, created_at, updated_at, name_key, name_look)
                 VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5, ?6)",
            )?;
            for user in users {
                let (keys, at) = (NameKeys::of(&user.username), user.at.as_millis());
                insert.execute((user.id.as_bytes(), &user.username, user.role.as_str(), at, keys.key, keys.look))?;
            }
            Ok(users.len() as u64)
        })
    }

    async fn add_rooms(&mut self, rooms: &[RoomIn]) -> Result<Tally, ImportError> {
        self.transaction(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
                 VALUES (?1, ?2, ?3, 0, 0, 0, ?4, ?5) ON CONFLICT (id) DO NOTHING",
            )?;
            let mut tally = Tally::default();
            for room in rooms {
                let Some(owner_pk) = find_user(transaction, room.owner)? else {
                    tally.skipped += 1;
                    continue;
                };
                let (made, changed) = (room.created_at.as_millis(), room.updated_at.as_millis());
                match insert.execute((room.id.as_bytes(), &room.name, owner_pk, made, changed))? {
                    0 => tally.present += 1,
                    _ => tally.added += 1,
                }
            }
            Ok(tally)
        })
    }

    async fn add_members(&mut self, members: &[MemberIn]) -> Result<Tally, ImportError> {
        self.transaction(|transaction| {
            let (mut heads, mut users, mut tally) = (HashMap::new(), HashMap::new(), Tally::default());
            let gone = gone(transaction, &mut heads, &mut users, members)?;
            let mut is_member = transaction.prepare_cached("SELECT 1 FROM members WHERE user_pk = ?1 AND room_pk = ?2")?;
            let mut event = transaction.prepare_cached(
                "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at) VALUES (?1, ?2, 'member_joined', ?3, ?4, ?5)",
            )?;
            let mut join =
                transaction.prepare_cached("INSERT INTO members (room_pk, user_pk, joined_seq) VALUES (?1, ?2, ?3)")?;
            for member in members {
                let Some(user_pk) = user_pk(transaction, &mut users, member.user)? else {
                    tally.skipped += 1;
                    continue;
                };
                let Some(head) = head(transaction, &mut heads, member.room)? else {
                    tally.skipped += 1;
                    continue;
                };
                if is_member.exists((user_pk, head.pk))? {
                    tally.present += 1;
                } else if gone.contains(&(head.pk, user_pk)) {
                    tally.skipped += 1;
                } else {
                    head.seq += 1;
                    head.members += 1;
                    event.execute((head.pk, head.seq, user_pk, head.owner_pk, head.created_at))?;
                    join.execute((head.pk, user_pk, head.seq))?;
                    tally.added += 1;
                }
            }
            advance(transaction, heads)?;
            Ok(tally)
        })
    }

    async fn add_messages(&mut self, messages: &[MessageIn]) -> Result<Tally, ImportError> {
        self.transaction(|transaction| {
            let (mut heads, mut users, mut tally) = (HashMap::new(), HashMap::new(), Tally::default());
            let mut insert = transaction.prepare_cached(
                "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7) ON CONFLICT (id) DO NOTHING",
            )?;
            for message in messages {
                let Some(user_pk) = user_pk(transaction, &mut users, message.author)? else {
                    tally.skipped += 1;
                    continue;
                };
                let Some(head) = head(transaction, &mut heads, message.room)? else {
                    tally.skipped += 1;
                    continue;
                };
                let (made, changed) = (message.created_at.as_millis(), message.updated_at.as_millis());
                let row = (message.id.as_bytes(), head.pk, head.seq + 1, user_pk, &message.content, made, changed);
                if insert.execute(row)? == 0 {
                    tally.present += 1;
                } else {
                    head.seq += 1;
                    head.messages += 1;
                    tally.added += 1;
                }
            }
            advance(transaction, heads)?;
            transaction.execute_batch(LIST)?;
            Ok(tally)
        })
    }

    async fn first_wrong_room(&mut self, rooms: &[Uuid]) -> Result<Option<Uuid>, ImportError> {
        let mut wrong = self.connection.prepare_cached(WRONG).map_err(failed)?;
        for room in rooms {
            if wrong.exists([room.as_bytes()]).map_err(failed)? {
                return Ok(Some(*room));
            }
        }
        Ok(None)
    }
}
