//! Imports the Node.js version's data into PostgreSQL. Servers may run meanwhile, because rooms are locked as their writers
//! lock them.

use std::collections::{HashMap, HashSet};

use chatsphere_core::NameKeys;
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::connect::Connector;
use super::failure::told;
use super::start;
use crate::fingerprints::KeyFingerprints;
use crate::import::{ImportError, MemberIn, MessageIn, RoomIn, Tally, Target, UserIn};
use crate::url::PostgresUrl;

/// Reads everything in one statement: between two, a room's counts and rows could differ for a moment.
const WRONG: &str = "SELECT r.id FROM rooms r
    CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(max(seq), 0) AS top FROM messages WHERE room_pk = r.pk) m
    CROSS JOIN LATERAL (SELECT count(*) AS n, coalesce(max(seq), 0) AS top FROM room_events WHERE room_pk = r.pk) e
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(CASE kind WHEN 'member_joined' THEN 1 WHEN 'member_left' THEN -1 ELSE 0 END), 0) AS n
        FROM room_events WHERE room_pk = r.pk
    ) c
    WHERE r.id = ANY ($1)
      AND (r.message_count <> m.n OR r.seq <> m.n + e.n OR r.seq <> greatest(m.top, e.top) OR r.member_count <> c.n)
    LIMIT 1";

/// Selects the names that exist, or that look like a privileged user's.
const TAKEN: &str = "SELECT x.name FROM UNNEST($1::text[], $2::text[], $3::text[]) AS x (name, key, look)
    WHERE EXISTS (SELECT FROM users u WHERE u.username = x.name)
       OR EXISTS (
           SELECT FROM (
               SELECT pk, role FROM users WHERE name_key = x.key UNION ALL SELECT pk, role FROM users WHERE name_look = x.look
           ) AS u
           WHERE u.role <> 'MEMBER'
              OR EXISTS (SELECT FROM tokens t WHERE t.user_pk = u.pk AND t.kind = 'CLIENT' AND t.revoked_at IS NULL)
       )";

/// The target of an import.
pub(crate) struct PostgresTarget {
    client: Client,
}

/// The room's row, which this transaction has locked.
struct Head {
    pk: i64,
    seq: i64,
    owner_pk: i64,
    created_at: i64,
    messages: i64,
    members: i64,
}

impl PostgresTarget {
    /// Creates or migrates the tables, and joins the installation, as a server's start does.
    pub(crate) async fn open(location: &PostgresUrl, url: &str, keys: &KeyFingerprints) -> Result<Self, ImportError> {
        let connector = Connector::new(location)?;
        start::prepare(&connector, url, keys).await?;
        let client = connector.for_migrating().await.map_err(|cause| cause.open_error(url))?;
        Ok(Self { client })
    }
}

fn failed(error: tokio_postgres::Error) -> ImportError {
    ImportError::Target(told(&error))
}

/// Locks the rooms in the order of their ids, as every writer does.
async fn lock(transaction: &Transaction<'_>, rooms: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Head>, ImportError> {
    let ids: Vec<Uuid> = rooms.collect::<HashSet<_>>().into_iter().collect();
    let sql = "SELECT id, pk, seq, owner_pk, created_at FROM rooms WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    let mut heads = HashMap::with_capacity(ids.len());
    for row in transaction.query(sql, &[&ids]).await.map_err(failed)? {
        let get = |column| row.try_get::<_, i64>(column).map_err(failed);
        let head = Head { pk: get(1)?, seq: get(2)?, owner_pk: get(3)?, created_at: get(4)?, messages: 0, members: 0 };
        heads.insert(row.try_get(0).map_err(failed)?, head);
    }
    Ok(heads)
}

async fn user_pks(transaction: &Transaction<'_>, users: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, i64>, ImportError> {
    let ids: Vec<Uuid> = users.collect::<HashSet<_>>().into_iter().collect();
    let rows = transaction.query("SELECT id, pk FROM users WHERE id = ANY ($1)", &[&ids]).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
}

/// Updates the `seq` and counts of the rooms' rows.
async fn advance(transaction: &Transaction<'_>, heads: &HashMap<Uuid, Head>) -> Result<(), ImportError> {
    let changed: Vec<&Head> = heads.values().filter(|head| head.messages > 0 || head.members > 0).collect();
    let (mut pks, mut seqs, mut messages, mut members) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for head in changed {
        pks.push(head.pk);
        seqs.push(head.seq);
        messages.push(head.messages);
        members.push(head.members);
    }
    let sql =
        "UPDATE rooms SET seq = x.seq, message_count = message_count + x.messages, member_count = member_count + x.members
               FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS x (pk, seq, messages, members)
               WHERE rooms.pk = x.pk";
    transaction.execute(sql, &[&pks, &seqs, &messages, &members]).await.map_err(failed).map(drop)
}

impl Target for PostgresTarget {
    async fn user_named(&mut self, name: &str, id: Uuid) -> Result<Option<Uuid>, ImportError> {
        let sql = "SELECT id FROM users WHERE username = $1 OR id = $2 ORDER BY username = $1 DESC LIMIT 1";
        let row = self.client.query_opt(sql, &[&name, &id]).await.map_err(failed)?;
        row.map(|row| row.try_get(0).map_err(failed)).transpose()
    }

    async fn known_users(&mut self, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError> {
        let rows = self.client.query("SELECT id FROM users WHERE id = ANY ($1)", &[&ids]).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
    }

    async fn names_taken(&mut self, names: &[String]) -> Result<HashSet<String>, ImportError> {
        let (keys, looks): (Vec<String>, Vec<String>) =
            names.iter().map(|name| NameKeys::of(name)).map(|keys| (keys.key, keys.look)).unzip();
        let rows = self.client.query(TAKEN, &[&names, &keys, &looks]).await.map_err(failed)?;
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
    }

    async fn add_users(&mut self, users: &[UserIn]) -> Result<u64, ImportError> {
        let ids: Vec<Uuid> = users.iter().map(|user| user.id).collect();
        let names: Vec<&str> = users.iter().map(|user| user.username.as_str()).collect();
        let roles: Vec<&str> = users.iter().map(|user| user.role.as_str()).collect();
        let times: Vec<i64> = users.iter().map(|user| user.at.as_millis()).collect();
        let (keys, looks): (Vec<String>, Vec<String>) =
            names.iter().map(|name| NameKeys::of(name)).map(|keys| (keys.key, keys.look)).unzip();
        let sql = "INSERT INTO users (id, username, role, disabled, created_at, updated_at, name_key, name_look)
                   SELECT id, name, role, false, at, at, key, look
                   FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
                        WITH ORDINALITY AS x (id, name, role, at, key, look, place)
                   ORDER BY place";
        self.client.execute(sql, &[&ids, &names, &roles, &times, &keys, &looks]).await.map_err(failed)
    }

    async fn add_rooms(&mut self, rooms: &[RoomIn]) -> Result<Tally, ImportError> {
        let ids: Vec<Uuid> = rooms.iter().map(|room| room.id).collect();
        let names: Vec<&str> = rooms.iter().map(|room| room.name.as_str()).collect();
        let owners: Vec<Uuid> = rooms.iter().map(|room| room.owner).collect();
        let made: Vec<i64> = rooms.iter().map(|room| room.created_at.as_millis()).collect();
        let changed: Vec<i64> = rooms.iter().map(|room| room.updated_at.as_millis()).collect();
        let sql = "INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
                   SELECT x.id, x.name, u.pk, 0, 0, 0, x.made, x.changed
                   FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[])
                        WITH ORDINALITY AS x (id, name, owner, made, changed, place)
                   JOIN users u ON u.id = x.owner
                   ORDER BY place
                   ON CONFLICT (id) DO NOTHING";
        let added = self.client.execute(sql, &[&ids, &names, &owners, &made, &changed]).await.map_err(failed)?;
        let count = "SELECT count(*) FROM rooms WHERE id = ANY ($1)";
        let there: i64 = self.client.query_one(count, &[&ids]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
        let present = there.unsigned_abs().saturating_sub(added);
        Ok(Tally { added, present, skipped: (rooms.len() as u64).saturating_sub(added + present) })
    }

    async fn add_members(&mut self, members: &[MemberIn]) -> Result<Tally, ImportError> {
        let transaction = self.client.transaction().await.map_err(failed)?;
        let mut heads = lock(&transaction, members.iter().map(|member| member.room)).await?;
        let users = user_pks(&transaction, members.iter().map(|member| member.user)).await?;
        let mut tally = Tally::default();
        let mut wanted = Vec::new();
        for member in members {
            match (heads.get(&member.room), users.get(&member.user)) {
                (Some(head), Some(user_pk)) => wanted.push((member.room, head.pk, *user_pk)),
                _ => tally.skipped += 1,
            }
        }
        let (room_pks, pks): (Vec<i64>, Vec<i64>) = wanted.iter().map(|(_, room, user)| (*room, *user)).unzip();
        // A user who was a member and no longer is was removed after an earlier import, and is not added again.
        let sql = "SELECT room_pk, user_pk, false FROM room_events
                   WHERE kind = 'member_left' AND room_pk = ANY ($1)
                     AND (room_pk, user_pk) IN (SELECT * FROM UNNEST($1::bigint[], $2::bigint[]))
                   UNION ALL
                   SELECT room_pk, user_pk, true FROM members
                   WHERE (room_pk, user_pk) IN (SELECT * FROM UNNEST($1::bigint[], $2::bigint[]))";
        let mut earlier: HashMap<(i64, i64), bool> = HashMap::new();
        for row in transaction.query(sql, &[&room_pks, &pks]).await.map_err(failed)? {
            let get = |column| row.try_get::<_, i64>(column).map_err(failed);
            // A user who left and came back is a member.
            *earlier.entry((get(0)?, get(1)?)).or_default() |= row.try_get::<_, bool>(2).map_err(failed)?;
        }
        let (mut rooms, mut seqs, mut who, mut by, mut at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (room, room_pk, user_pk) in wanted {
            match earlier.insert((room_pk, user_pk), true) {
                Some(true) => tally.present += 1,
                Some(false) => tally.skipped += 1,
                None => {
                    let Some(head) = heads.get_mut(&room) else { continue };
                    head.seq += 1;
                    head.members += 1;
                    rooms.push(room_pk);
                    seqs.push(head.seq);
                    who.push(user_pk);
                    by.push(head.owner_pk);
                    at.push(head.created_at);
                    tally.added += 1;
                }
            }
        }
        let sql = "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at)
                   SELECT room_pk, seq, 'member_joined', user_pk, by_pk, at
                   FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
                       AS x (room_pk, seq, user_pk, by_pk, at)";
        transaction.execute(sql, &[&rooms, &seqs, &who, &by, &at]).await.map_err(failed)?;
        let sql = "INSERT INTO members (room_pk, user_pk, joined_seq)
                   SELECT room_pk, user_pk, seq
                   FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[]) AS x (room_pk, user_pk, seq)";
        transaction.execute(sql, &[&rooms, &who, &seqs]).await.map_err(failed)?;
        advance(&transaction, &heads).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(tally)
    }

    async fn add_messages(&mut self, messages: &[MessageIn]) -> Result<Tally, ImportError> {
        let transaction = self.client.transaction().await.map_err(failed)?;
        let mut heads = lock(&transaction, messages.iter().map(|message| message.room)).await?;
        let users = user_pks(&transaction, messages.iter().map(|message| message.author)).await?;
        let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
        let rows = transaction.query("SELECT id FROM messages WHERE id = ANY ($1)", &[&ids]).await.map_err(failed)?;
        let mut there: HashSet<Uuid> = rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<_, _>>()?;
        let mut tally = Tally::default();
        let (mut ids, mut rooms, mut seqs, mut authors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut contents, mut made, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            let (Some(head), Some(author)) = (heads.get_mut(&message.room), users.get(&message.author)) else {
                tally.skipped += 1;
                continue;
            };
            if !there.insert(message.id) {
                tally.present += 1;
                continue;
            }
            head.seq += 1;
            head.messages += 1;
            ids.push(message.id);
            rooms.push(head.pk);
            seqs.push(head.seq);
            authors.push(*author);
            contents.push(message.content.as_str());
            made.push(message.created_at.as_millis());
            changed.push(message.updated_at.as_millis());
            tally.added += 1;
        }
        // In the order of their numbers, so that the keys rise with them.
        let sql = "INSERT INTO messages (id, room_pk, seq, user_pk, content, client_message_id, created_at, updated_at)
                   SELECT id, room_pk, seq, user_pk, content, NULL, made, changed
                   FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[])
                        WITH ORDINALITY AS x (id, room_pk, seq, user_pk, content, made, changed, place)
                   ORDER BY place";
        transaction.execute(sql, &[&ids, &rooms, &seqs, &authors, &contents, &made, &changed]).await.map_err(failed)?;
        advance(&transaction, &heads).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(tally)
    }

    async fn first_wrong_room(&mut self, rooms: &[Uuid]) -> Result<Option<Uuid>, ImportError> {
        let row = self.client.query_opt(WRONG, &[&rooms]).await.map_err(failed)?;
        row.map(|row| row.try_get(0).map_err(failed)).transpose()
    }
}
