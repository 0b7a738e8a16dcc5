//! A connection as the hub knows it: its id, its caller, its write queue and its rooms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{Caller, ConnectionId, RoomId};

use crate::write_queue::WriteQueue;

/// An authenticated connection that may subscribe to rooms.
#[derive(Debug)]
pub struct Subscriber {
    /// The id of the connection.
    pub id: ConnectionId,
    /// Its write queue.
    pub write_queue: Arc<WriteQueue>,
    caller: Mutex<Arc<Caller>>,
    /// Few rooms in most connections; kept small because there are many connections.
    rooms: Mutex<RoomSet>,
    gone: AtomicBool,
}

impl Subscriber {
    /// A connection without subscriptions.
    pub fn new(id: ConnectionId, caller: Arc<Caller>, write_queue: Arc<WriteQueue>) -> Self {
        Self { id, write_queue, caller: Mutex::new(caller), rooms: Mutex::default(), gone: AtomicBool::new(false) }
    }

    /// The authenticated caller, as last checked.
    pub fn caller(&self) -> Arc<Caller> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the caller after a new check or a newer token.
    pub fn set_caller(&self, caller: Arc<Caller>) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = caller;
    }

    /// The rooms that it is subscribed to.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.room_set().0.clone()
    }

    /// The number of rooms that it is subscribed to.
    pub fn room_count(&self) -> usize {
        self.room_set().0.len()
    }

    /// Whether it is subscribed to this room.
    pub fn is_in(&self, room: RoomId) -> bool {
        self.room_set().0.contains(&room)
    }

    pub(crate) fn room_set(&self) -> MutexGuard<'_, RoomSet> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the connection as ended; joins in progress no longer subscribe it.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// A small set of rooms that allocates only as much memory as it needs.
#[derive(Debug, Default)]
pub(crate) struct RoomSet(Vec<RoomId>);

impl RoomSet {
    /// Returns whether the room was new.
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

    /// Returns whether the room was present.
    pub(crate) fn remove(&mut self, room: RoomId) -> bool {
        let place = self.0.iter().position(|other| *other == room);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }
}
