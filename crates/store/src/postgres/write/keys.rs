//! The keys of rows that this connection has asked for before, so that look-ups among messages and members need not begin with
//! those of their room and user.
//!
//! They can't be stale: rooms and users are never removed, a key is never used again, what a transaction made is forgotten with it, and what
//! was read of another database before a restore went with its connection. Whether a room or a user is there is asked each time all the same.

use std::collections::HashMap;

use uuid::Uuid;

/// Entries of a kind beyond which it begins anew: some megabytes.
const MOST: usize = 32_768;

/// Each row's key by its id.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) rooms: HashMap<Uuid, i64>,
    pub(super) users: HashMap<Uuid, i64>,
}

impl Keys {
    /// The keys of a room and a user, if both exist.
    pub(super) fn of(&self, room: &Uuid, user: &Uuid) -> Option<(i64, i64)> {
        Some((*self.rooms.get(room)?, *self.users.get(user)?))
    }

    /// Makes room for more.
    pub(super) fn bound(&mut self) {
        for keys in [&mut self.rooms, &mut self.users] {
            if keys.len() > MOST {
                keys.clear();
            }
        }
    }
}

/// Those of `ids` that are not known yet.
pub(super) fn unknown(keys: &HashMap<Uuid, i64>, ids: &[Uuid]) -> Vec<Uuid> {
    ids.iter().filter(|id| !keys.contains_key(id)).copied().collect()
}
