//! Who types in the rooms of this node, until that ends or expires.

use std::collections::HashMap;

use chatsphere_core::signal::TYPING_EXPIRES;
use chatsphere_core::{RoomId, Seq, Signal, UserId};
use tokio::time::Instant;

/// Maximum number of users typing, over all rooms.
pub(super) const MAX_TYPISTS: usize = 16_384;
/// Maximum number of users typing in a room whose subscribers get names.
const MAX_NAMED: usize = 200;

/// The users typing in each room.
#[derive(Default)]
pub(super) struct Typists {
    rooms: HashMap<RoomId, InRoom>,
    /// The number of users in `rooms`.
    users: usize,
}

#[derive(Default)]
struct InRoom {
    of: HashMap<UserId, Typist>,
    /// Whether the room has [`COUNTED_FROM`](super::COUNTED_FROM) subscribers, who get the number of users typing instead of
    /// their names.
    counted: bool,
}

/// A user who types.
#[derive(Clone)]
pub(super) struct Typist {
    pub(super) signal: Signal,
    pub(super) until: Instant,
}

impl Typists {
    /// Records that a user types, as told by a signal received at this time. Returns whether there was room for it.
    pub(super) fn begin(&mut self, room: RoomId, signal: &Signal, received: Instant, counted: bool) -> bool {
        let in_room = self.rooms.get(&room);
        let is_new = in_room.is_none_or(|in_room| !in_room.of.contains_key(&signal.user.id));
        let named = in_room.map_or(0, |in_room| in_room.of.len());
        if is_new && (self.users >= MAX_TYPISTS || (!counted && named >= MAX_NAMED)) {
            return false;
        }
        self.users += usize::from(is_new);
        let in_room = self.rooms.entry(room).or_default();
        in_room.counted = counted;
        in_room.of.insert(signal.user.id, Typist { signal: signal.clone(), until: received + TYPING_EXPIRES });
        true
    }

    /// Records that a user has stopped typing. With `at`, only if the user typed before that event.
    pub(super) fn end(&mut self, room: RoomId, user: UserId, at: Option<Seq>) {
        let Some(in_room) = self.rooms.get_mut(&room) else { return };
        let typed_before = |typist: &Typist| at.is_none_or(|at| typist.signal.after < at);
        if in_room.of.get(&user).is_some_and(typed_before) {
            in_room.of.remove(&user);
            self.users -= 1;
            // A large room is kept until its subscribers have got the number 0.
            if in_room.of.is_empty() && !in_room.counted {
                self.rooms.remove(&room);
            }
        }
    }

    /// The users whose names a new subscriber of this room gets.
    pub(super) fn named(&self, room: RoomId) -> Vec<UserId> {
        let in_room = self.rooms.get(&room).filter(|in_room| !in_room.counted);
        in_room.map(|in_room| in_room.of.keys().copied().collect()).unwrap_or_default()
    }

    /// A user who still types in this room.
    pub(super) fn get(&self, room: RoomId, user: UserId, now: Instant) -> Option<Typist> {
        let typist = self.rooms.get(&room)?.of.get(&user)?;
        (typist.until > now).then(|| typist.clone())
    }

    /// Removes expired users. Returns the number of users typing in each large room; one is listed with 0 once.
    pub(super) fn counts(&mut self, now: Instant) -> Vec<(RoomId, usize)> {
        for in_room in self.rooms.values_mut() {
            in_room.of.retain(|_, typist| typist.until > now);
        }
        self.users = self.rooms.values().map(|in_room| in_room.of.len()).sum();
        let counted = self.rooms.iter().filter(|(_, in_room)| in_room.counted);
        let counts = counted.map(|(room, in_room)| (*room, in_room.of.len())).collect();
        self.rooms.retain(|_, in_room| !in_room.of.is_empty());
        if self.rooms.is_empty() {
            // Release the memory of a burst.
            self.rooms = HashMap::new();
        }
        counts
    }

    /// The number of rooms in which somebody types.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    #[cfg(test)]
    pub(super) fn users(&self) -> usize {
        assert_eq!(self.users, self.rooms.values().map(|in_room| in_room.of.len()).sum::<usize>());
        self.users
    }
}
