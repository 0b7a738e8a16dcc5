//! A cache of the keys of rooms and users, so that look-ups of messages and members need not begin with those of their room and
//! user.
//!
//! The keys can't be stale. Rooms and users are never removed, and a key is never used again. Keys of rows that a transaction
//! inserted are removed if it is rolled back. The keys of a database before a restore are dropped with its connection. Whether
//! a room or a user exists is still queried each time.

use chatsphere_core::BoundedMap;
use uuid::Uuid;

/// The maximum of entries of each kind, which take some megabytes. It exceeds the needs of one batch.
const MAX_KEYS: usize = 32_768;

/// The keys of rows by their ids.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) rooms: BoundedMap<Uuid, i64>,
    pub(super) users: BoundedMap<Uuid, i64>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { rooms: BoundedMap::new(MAX_KEYS), users: BoundedMap::new(MAX_KEYS) }
    }
}

impl Keys {
    /// Returns the keys of a room and a user, if both are cached and exist.
    pub(super) fn of(&self, room: &Uuid, user: &Uuid) -> Option<(i64, i64)> {
        Some((*self.rooms.peek(room)?, *self.users.peek(user)?))
    }
}

/// Returns those of `ids` that are not cached.
pub(super) fn unknown(keys: &mut BoundedMap<Uuid, i64>, ids: &[Uuid]) -> Vec<Uuid> {
    ids.iter().filter(|id| keys.get(*id).is_none()).copied().collect()
}
