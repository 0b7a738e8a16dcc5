//! A cache of each room's newest pages, which most clients request when they open a room.
//!
//! A page from the cache is never stale. Each call reads the room's [`RoomVersion`] from the store and checks the reader's
//! access there; a cached page is used only if it is of that version.

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

/// The approximate maximum of bytes that the pages of one kind and their encodings take.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The weight of a page without its events, in bytes.
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
    /// Returns a room's newest messages, like [`MessageReads::history`](crate::store::MessageReads::history) for
    /// [`HistoryRange::Newest`]. A page that is not cached is read after `turn` resolves, and is returned with that turn.
    ///
    /// # Errors
    /// The errors of [`MessageReads::history`](crate::store::MessageReads::history) and of `turn`.
    pub async fn history<A>(
        &self,
        store: &dyn Store,
        room: RoomId,
        access: Access,
        limit: usize,
        turn: impl Future<Output = Result<A, Error>>,
    ) -> Result<(Arc<Shared<History>>, Option<A>), Error> {
        let version = async { store.room_version(room, access).await };
        let read = async { store.history(room, access, HistoryRange::Newest, limit).await };
        self.histories.get((room, limit), version, turn, read, |page| weight(&page.messages, &[])).await
    }

    /// Returns a room's newest page for a join, like [`MessageReads::newest`](crate::store::MessageReads::newest). A page that
    /// is not cached is read after `turn` resolves, and is returned with that turn.
    ///
    /// # Errors
    /// The errors of [`MessageReads::newest`](crate::store::MessageReads::newest) and of `turn`.
    pub async fn newest<A>(
        &self,
        store: &dyn Store,
        room: RoomId,
        access: Access,
        (messages, others): (usize, usize),
        turn: impl Future<Output = Result<A, Error>>,
    ) -> Result<(Arc<Shared<Newest>>, Option<A>), Error> {
        let version = async { store.room_version(room, access).await };
        let read = async { store.newest(room, access, messages, others).await };
        let weight = |page: &Newest| weight(&page.messages, &page.others);
        self.newest.get((room, messages, others), version, turn, read, weight).await
    }
}

impl<K: Hash + Eq, T> Pages<K, T> {
    fn new() -> Self {
        Self(Mutex::new(BoundedMap::new(MAX_BYTES)))
    }

    /// Returns the page of the room's current version, from the cache, or read by `read` after `turn` resolves.
    async fn get<A>(
        &self,
        key: K,
        version: impl Future<Output = Result<RoomVersion, Error>>,
        turn: impl Future<Output = Result<A, Error>>,
        read: impl Future<Output = Result<Versioned<T>, Error>>,
        weight: impl FnOnce(&T) -> usize,
    ) -> Result<(Arc<Shared<T>>, Option<A>), Error> {
        // A page that is not cached is read together with its version.
        let is_kept = self.kept().peek(&key).is_some();
        let version = if is_kept { Some(version.await?) } else { None };
        if let Some(page) = version.and_then(|version| self.of(&key, version)) {
            return Ok((page, None));
        }
        let turn = turn.await?;
        // Another task may have cached this version during the wait.
        let page = match version.and_then(|version| self.of(&key, version)) {
            Some(page) => page,
            None => {
                let read = read.await?;
                let weight = weight(&read.page);
                self.keep(key, read, weight)
            }
        };
        Ok((page, Some(turn)))
    }

    /// Returns the cached page, if it is of this version.
    fn of(&self, key: &K, version: RoomVersion) -> Option<Arc<Shared<T>>> {
        self.kept().get(key).filter(|kept| kept.version == version).map(|kept| kept.page.clone())
    }

    fn keep(&self, key: K, read: Versioned<T>, weight: usize) -> Arc<Shared<T>> {
        let (version, page) = (read.version, Arc::new(Shared::new(read.page)));
        // The evicted pages are dropped after the lock is released.
        let removed = self.kept().insert(key, Kept { version, page: page.clone() }, weight);
        drop(removed);
        page
    }

    fn kept(&self) -> MutexGuard<'_, BoundedMap<K, Kept<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the weight in bytes of a page and its encoding.
fn weight(messages: &[Message], others: &[Arc<Event>]) -> usize {
    let messages = messages.iter().map(|message| message.held_len() + message.encoded_len());
    let others = others.iter().map(|event| event.held_len() + event.encoded_len());
    PAGE + messages.sum::<usize>() + others.sum::<usize>()
}

#[cfg(test)]
mod tests;
