//! The newest pages of rooms as they were read last: what nearly everyone who opens a room asks for.
//!
//! A page from the cache is never stale. The store is asked for the room's [`RoomVersion`] each time, and whether the reader
//! may read the room; only a page of that version is given out.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bounded_map::BoundedMap;
use crate::encoded::EncodedLen;
use crate::error::Error;
use crate::event::Event;
use crate::ids::RoomId;
use crate::model::Message;
use crate::shared::Shared;
use crate::store::{Access, History, HistoryRange, Newest, RoomVersion, Store, Versioned};

/// What the pages of a kind may weigh together, with what is made of them, in bytes, about.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// What a page weighs besides its events.
const PAGE: usize = 1_024;

/// The newest pages of rooms, bounded in bytes.
pub struct PageCache {
    /// By room and limit.
    histories: Pages<(RoomId, usize), History>,
    /// By room and both limits.
    newest: Pages<(RoomId, usize, usize), Newest>,
}

struct Pages<K, T>(Mutex<BoundedMap<K, Kept<T>>>);

struct Kept<T> {
    version: RoomVersion,
    page: Arc<Shared<T>>,
}

impl Default for PageCache {
    fn default() -> Self {
        Self { histories: Pages::new(), newest: Pages::new() }
    }
}

impl PageCache {
    /// A room's newest messages: as [`MessageReads::history`](crate::store::MessageReads::history) answers for
    /// [`HistoryRange::Newest`].
    ///
    /// # Errors
    /// Those of [`MessageReads::history`](crate::store::MessageReads::history).
    pub async fn history(
        &self,
        store: &dyn Store,
        room: RoomId,
        access: Access,
        limit: usize,
    ) -> Result<Arc<Shared<History>>, Error> {
        let key = (room, limit);
        if let Some(page) = self.histories.present(&key, store, room, access).await? {
            return Ok(page);
        }
        let read = store.history(room, access, HistoryRange::Newest, limit).await?;
        let weight = weight(&read.messages, &[]);
        Ok(self.histories.keep(key, read, weight))
    }

    /// The newest part of a room, for a join: as [`MessageReads::newest`](crate::store::MessageReads::newest) answers.
    ///
    /// # Errors
    /// Those of [`MessageReads::newest`](crate::store::MessageReads::newest).
    pub async fn newest(
        &self,
        store: &dyn Store,
        room: RoomId,
        access: Access,
        messages: usize,
        others: usize,
    ) -> Result<Arc<Shared<Newest>>, Error> {
        let key = (room, messages, others);
        if let Some(page) = self.newest.present(&key, store, room, access).await? {
            return Ok(page);
        }
        let read = store.newest(room, access, messages, others).await?;
        let weight = weight(&read.messages, &read.others);
        Ok(self.newest.keep(key, read, weight))
    }
}

impl<K: Hash + Eq, T> Pages<K, T> {
    fn new() -> Self {
        Self(Mutex::new(BoundedMap::new(MAX_BYTES)))
    }

    /// The page, if it is kept and of the room's present version.
    async fn present(&self, key: &K, store: &dyn Store, room: RoomId, access: Access) -> Result<Option<Arc<Shared<T>>>, Error> {
        // A page that is not kept is read with its version.
        if self.kept().peek(key).is_none() {
            return Ok(None);
        }
        let version = store.room_version(room, access).await?;
        // Looked up only now: somebody else may have read this version meanwhile.
        Ok(self.kept().get(key).filter(|kept| kept.version == version).map(|kept| kept.page.clone()))
    }

    fn keep(&self, key: K, read: Versioned<T>, weight: usize) -> Arc<Shared<T>> {
        let (version, page) = (read.version, Arc::new(Shared::new(read.page)));
        // What makes room for it is dropped without the lock.
        let removed = self.kept().insert(key, Kept { version, page: page.clone() }, weight);
        drop(removed);
        page
    }

    fn kept(&self) -> MutexGuard<'_, BoundedMap<K, Kept<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page as it is, and encoded.
fn weight(messages: &[Message], others: &[Arc<Event>]) -> usize {
    let messages = messages.iter().map(|message| message.held_len() + message.encoded_len());
    let others = others.iter().map(|event| event.held_len() + event.encoded_len());
    PAGE + messages.sum::<usize>() + others.sum::<usize>()
}

#[cfg(test)]
mod tests;
