//! Pages of the newest messages, as they were read last: what nearly everyone who opens a room asks for.
//!
//! They are never stale. Every read still asks the database for the room, whether the reader may read it, and for the stamp:
//! the room's newest event and the newest entry of the control log, in the same snapshot. What a page shows changes by an event
//! of its room, or by a change of a user's name, which is an entry of that log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::store::{History, Newest};
use chatsphere_core::{EncodedLen, Event, Message, RoomId, Seq, Shared};

/// What all pages may weigh together, in bytes, about. Beyond it all are given up: the busy ones are soon back.
const MOST: usize = 16 * 1024 * 1024;
/// What a message weighs besides its content, or another event, as it is.
const ITEM: usize = 1_024;

/// What a page depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) head: Seq,
    pub(super) control: i64,
}

/// Pages of one kind, by room and size.
pub(super) struct Pages<T>(Mutex<Kept<T>>);

struct Kept<T> {
    pages: HashMap<(RoomId, usize), Stamped<T>>,
    weight: usize,
}

type Stamped<T> = (Stamp, Arc<Shared<T>>);

/// Pages of every kind.
#[derive(Default)]
pub(super) struct Recent {
    pub(super) history: Pages<History>,
    pub(super) newest: Pages<Newest>,
}

/// Something with messages in it, and other events.
pub(super) trait Page {
    fn messages(&self) -> &[Message];
    fn others(&self) -> &[Arc<Event>];
}

impl Page for History {
    fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn others(&self) -> &[Arc<Event>] {
        &[]
    }
}

impl Page for Newest {
    fn messages(&self) -> &[Message] {
        &self.messages
    }

    fn others(&self) -> &[Arc<Event>] {
        &self.others
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(Mutex::new(Kept { pages: HashMap::new(), weight: 0 }))
    }
}

impl<T: Page> Pages<T> {
    /// The page of `size` of a room that has this stamp, read by `read` unless it is here.
    pub(super) fn page<E>(
        &self,
        room: RoomId,
        size: usize,
        stamp: Stamp,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<Shared<T>>, E> {
        if let Some((kept, page)) = self.kept().pages.get(&(room, size))
            && *kept == stamp
        {
            return Ok(page.clone());
        }
        let page = Arc::new(Shared::new(read()?));
        self.keep((room, size), stamp, page.clone());
        Ok(page)
    }

    fn keep(&self, key: (RoomId, usize), stamp: Stamp, page: Arc<Shared<T>>) {
        let weight = weight(&**page);
        let mut kept = self.kept();
        if kept.weight + weight > MOST {
            *kept = Kept { pages: HashMap::new(), weight: 0 };
        }
        if weight > MOST {
            return;
        }
        kept.weight += weight;
        if let Some((_, before)) = kept.pages.insert(key, (stamp, page)) {
            kept.weight -= self::weight(&**before);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it is, and encoded.
fn weight(page: &impl Page) -> usize {
    let messages = page.messages().iter().map(|message| ITEM + message.content.as_str().len() + message.encoded_len());
    let others = page.others().iter().map(|event| ITEM + event.encoded_len());
    ITEM + messages.sum::<usize>() + others.sum::<usize>()
}

#[cfg(test)]
mod tests;
