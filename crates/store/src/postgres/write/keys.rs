//! The keys of rows that this connection has asked for before, so that look-ups among messages and members need not begin with
//! those of their room and user.
//!
//! They can't be stale: rooms and users are never removed, a key is never used again, what a transaction made is forgotten with
//! it, and what was read of another database before a restore went with its connection. Whether a room or a user is there is
//! asked each time all the same.

use chatsphere_core::BoundedMap;
use uuid::Uuid;

/// Entries of a kind: some megabytes. More than one batch asks for.
const MAX_KEYS: usize = 32_768;

/// Each row's key by its id.
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
    /// The keys of a room and a user, if both exist.
    pub(super) fn of(&self, room: &Uuid, user: &Uuid) -> Option<(i64, i64)> {
        Some((*self.rooms.peek(room)?, *self.users.peek(user)?))
    }
}

/// Those of `ids` that are not known yet.
pub(super) fn unknown(keys: &mut BoundedMap<Uuid, i64>, ids: &[Uuid]) -> Vec<Uuid> {
    ids.iter().filter(|id| keys.get(*id).is_none()).copied().collect()
}
