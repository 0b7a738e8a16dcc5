//! A connection as the hub sees it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{Caller, ConnectionId, RoomId};

use crate::write_queue::WriteQueue;

/// One authenticated connection that may listen to rooms.
#[derive(Debug)]
pub struct Subscriber {
    /// Its id.
    pub id: ConnectionId,
    /// Its write side.
    pub write_queue: Arc<WriteQueue>,
    caller: Mutex<Arc<Caller>>,
    /// Few in most connections, and there are many connections.
    rooms: Mutex<RoomSet>,
    gone: AtomicBool,
}

impl Subscriber {
    /// A connection that listens to nothing yet.
    pub fn new(id: ConnectionId, caller: Arc<Caller>, write_queue: Arc<WriteQueue>) -> Self {
        Self { id, write_queue, caller: Mutex::new(caller), rooms: Mutex::default(), gone: AtomicBool::new(false) }
    }

    /// Whom it stands for, as last judged.
    pub fn caller(&self) -> Arc<Caller> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It was judged anew, or showed a newer token.
    pub fn set_caller(&self, caller: Arc<Caller>) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = caller;
    }

    /// The rooms that it listens to.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.room_set().0.clone()
    }

    /// How many rooms it listens to.
    pub fn room_count(&self) -> usize {
        self.room_set().0.len()
    }

    /// Whether it listens to this room.
    pub fn is_in(&self, room: RoomId) -> bool {
        self.room_set().0.contains(&room)
    }

    pub(crate) fn room_set(&self) -> MutexGuard<'_, RoomSet> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection ended; a join under way must not subscribe it any more.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// A small set of rooms, which takes no more memory than it must.
#[derive(Debug, Default)]
pub(crate) struct RoomSet(Vec<RoomId>);

impl RoomSet {
    /// Whether it is new.
    pub(crate) fn insert(&mut self, room: RoomId) -> bool {
        let is_new = !self.0.contains(&room);
        if is_new {
            if self.0.is_empty() {
                self.0.reserve_exact(1);
            }
            self.0.push(room);
        }
        is_new
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, room: RoomId) -> bool {
        let place = self.0.iter().position(|other| *other == room);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }
}
