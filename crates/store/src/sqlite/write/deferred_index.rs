//! Two indexes of messages that lag behind: the lists by author, and by `clientMessageId`.
//!
//! Each message of a commit usually belongs to a different leaf of each list. With many rooms and users, nearly everything that
//! a commit writes would be leaves. So the newest messages are kept in memory, and are inserted later in runs: thousands in the
//! list's order, of which many belong to one leaf. The writer finds the others in memory, and readers scan the messages above
//! `messages_listed`. After a crash the memory is rebuilt from these.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Result};

/// The number of messages in a run. A reader who lists an author's messages scans up to three times as many, which takes a
/// quarter of a millisecond.
#[cfg(not(test))]
const RUN: usize = 2_048;
#[cfg(test)]
const RUN: usize = 8;
/// The smallest number of messages that are inserted at once, so that most commits of a few messages write to no list.
#[cfg(not(test))]
const STEP: usize = 64;
#[cfg(test)]
const STEP: usize = 3;

/// The fields of a message that the lists need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) pk: i64,
    pub(super) room_pk: i64,
    pub(super) user_pk: i64,
    pub(super) client_id: Option<&'a str>,
}

/// The messages that the lists lack.
#[derive(Debug, Default)]
pub(super) struct DeferredIndex {
    /// Whether the messages that the file's lists lack were read.
    read: bool,
    /// The run that is being inserted.
    leaving: Run,
    /// The run that is inserted after that.
    coming: Run,
    /// The number of messages since the last insertion.
    since: usize,
}

/// Messages in the lists' order.
#[derive(Debug, Default)]
struct Run {
    by_author: BTreeSet<(i64, i64)>,
    by_client_id: BTreeMap<(i64, i64), BTreeMap<Box<str>, i64>>,
    /// The key of the newest of them.
    last: i64,
}

impl DeferredIndex {
    /// Clears the memory after a rollback.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Adds a message that the transaction has stored.
    pub(super) fn add(&mut self, connection: &Connection, message: Listed<'_>) -> Result<()> {
        self.read(connection)?;
        self.coming.add(message);
        self.since += 1;
        Ok(())
    }

    /// Returns the key of the message with a `clientMessageId`. Called within a transaction.
    pub(super) fn find(&mut self, connection: &Connection, user_pk: i64, room_pk: i64, client_id: &str) -> Result<Option<i64>> {
        self.read(connection)?;
        let place = (user_pk, room_pk);
        if let Some(pk) = self.coming.find(place, client_id).or_else(|| self.leaving.find(place, client_id)) {
            return Ok(Some(pk));
        }
        connection
            .prepare_cached(
                "SELECT message_pk FROM messages_by_client_id WHERE user_pk = ?1 AND room_pk = ?2 AND client_message_id = ?3",
            )?
            .query_row((user_pk, room_pk, client_id), |row| row.get(0))
            .optional()
    }

    /// Removes a `clientMessageId`. Called within a transaction.
    pub(super) fn remove(&mut self, connection: &Connection, user_pk: i64, room_pk: i64, client_id: &str) -> Result<()> {
        self.read(connection)?;
        for run in [&mut self.coming, &mut self.leaving] {
            run.remove((user_pk, room_pk), client_id);
        }
        connection
            .prepare_cached("DELETE FROM messages_by_client_id WHERE user_pk = ?1 AND room_pk = ?2 AND client_message_id = ?3")?
            .execute((user_pk, room_pk, client_id))
            .map(drop)
    }

    /// Inserts some of the older messages into the lists, twice as many as were added since. Called within a transaction that
    /// has added messages.
    pub(super) fn enter(&mut self, connection: &Connection) -> Result<()> {
        if self.leaving.is_empty() && self.coming.by_author.len() >= RUN {
            self.leaving = std::mem::take(&mut self.coming);
            self.since = 0;
        }
        // After a rollback all messages are in one longer run, which is inserted at once. Otherwise repeated rollbacks could
        // let it grow.
        let step = if self.leaving.by_author.len() > RUN + RUN / 2 { usize::MAX } else { self.since * 2 };
        if self.leaving.is_empty() || step < STEP {
            return Ok(());
        }
        self.since = 0;
        self.leaving.enter(connection, step)?;
        if self.leaving.is_empty() {
            connection.prepare_cached("UPDATE messages_listed SET up_to = ?1")?.execute([self.leaving.last])?;
        }
        Ok(())
    }

    fn read(&mut self, connection: &Connection) -> Result<()> {
        if self.read {
            return Ok(());
        }
        self.forget();
        let mut above = connection.prepare_cached(
            "SELECT pk, room_pk, user_pk, client_message_id FROM messages WHERE pk > (SELECT up_to FROM messages_listed)",
        )?;
        let mut rows = above.query(())?;
        while let Some(row) = rows.next()? {
            let client_id = row.get_ref(3)?.as_str_or_null()?;
            self.coming.add(Listed { pk: row.get(0)?, room_pk: row.get(1)?, user_pk: row.get(2)?, client_id });
        }
        self.read = true;
        Ok(())
    }
}

impl Run {
    fn is_empty(&self) -> bool {
        self.by_author.is_empty() && self.by_client_id.is_empty()
    }

    fn add(&mut self, message: Listed<'_>) {
        self.by_author.insert((message.user_pk, message.pk));
        if let Some(client_id) = message.client_id {
            self.by_client_id.entry((message.user_pk, message.room_pk)).or_default().insert(client_id.into(), message.pk);
        }
        self.last = self.last.max(message.pk);
    }

    fn find(&self, place: (i64, i64), client_id: &str) -> Option<i64> {
        self.by_client_id.get(&place)?.get(client_id).copied()
    }

    fn remove(&mut self, place: (i64, i64), client_id: &str) {
        if let Some(ids) = self.by_client_id.get_mut(&place) {
            ids.remove(client_id);
            if ids.is_empty() {
                self.by_client_id.remove(&place);
            }
        }
    }

    /// Inserts the next `most` messages into each list. After a crash the lists may have some of them already.
    fn enter(&mut self, connection: &Connection, most: usize) -> Result<()> {
        let mut by_author =
            connection.prepare_cached("INSERT OR IGNORE INTO messages_by_author (user_pk, message_pk) VALUES (?1, ?2)")?;
        for _ in 0..most {
            let Some(entry) = self.by_author.pop_first() else { break };
            by_author.execute(entry)?;
        }
        let mut by_client_id = connection.prepare_cached(
            "INSERT OR IGNORE INTO messages_by_client_id (user_pk, room_pk, client_message_id, message_pk) VALUES (?1, ?2, \
             ?3, ?4)",
        )?;
        for _ in 0..most {
            let Some(mut place) = self.by_client_id.first_entry() else { break };
            let (user_pk, room_pk) = *place.key();
            if let Some((client_id, pk)) = place.get_mut().pop_first() {
                by_client_id.execute((user_pk, room_pk, client_id, pk))?;
            }
            if place.get().is_empty() {
                place.remove();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
