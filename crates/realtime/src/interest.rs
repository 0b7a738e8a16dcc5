//! Which NATS subjects this node needs: those of the shards that contain its rooms and users with connections.
//!
//! The hub counts rooms and users per shard. `NatsLink` subscribes and unsubscribes accordingly.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chatsphere_core::{RoomId, Topic};
use tokio::sync::Notify;

/// Number of shards of rooms, and of users.
const SHARDS: usize = 256;

/// A fraction of all rooms or of all users, with a NATS subject of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubjectShard(u16);

impl SubjectShard {
    pub(crate) fn of_room(room: RoomId) -> Self {
        // The last byte of an id is random.
        Self(u16::from(room.as_bytes()[15]))
    }

    pub(crate) fn of(topic: Topic) -> Self {
        match topic {
            Topic::Room(room) => Self::of_room(room),
            Topic::User(user) => Self(0x100 | u16::from(user.as_bytes()[15])),
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..2 * SHARDS).filter_map(|number| u16::try_from(number).ok().map(Self))
    }

    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The NATS subject, below `base`.
    pub(crate) fn subject(self, base: &str) -> String {
        let of = if self.0 < 0x100 { "room" } else { "user" };
        format!("{base}.{of}.{:02x}", self.0 & 0xff)
    }
}

/// The number of rooms and users with connections on this node, per shard.
#[derive(Debug)]
pub struct Interest {
    /// Rooms with connections, or connections of users, by shard number.
    counts: Vec<AtomicUsize>,
    changed: Notify,
    /// Shards whose subscription became active. Events published before that are read from the store.
    begun: Mutex<HashSet<SubjectShard>>,
    has_begun: Notify,
}

impl Default for Interest {
    fn default() -> Self {
        Self {
            counts: (0..2 * SHARDS).map(|_| AtomicUsize::new(0)).collect(),
            changed: Notify::new(),
            begun: Mutex::default(),
            has_begun: Notify::new(),
        }
    }
}

impl Interest {
    /// Counts a room with connections, or a connection of a user.
    pub fn add(&self, topic: Topic) {
        if let Some(count) = self.counts.get(SubjectShard::of(topic).number())
            && count.fetch_add(1, Ordering::AcqRel) == 0
        {
            self.changed.notify_one();
        }
    }

    /// Reverts one [`Interest::add`].
    pub fn remove(&self, topic: Topic) {
        if let Some(count) = self.counts.get(SubjectShard::of(topic).number()) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn wants(&self, shard: SubjectShard) -> bool {
        self.counts.get(shard.number()).is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }

    #[cfg(test)]
    pub(crate) fn wants_any(&self) -> bool {
        SubjectShard::all().any(|shard| self.wants(shard))
    }

    /// Waits until an unneeded shard becomes needed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reports that the subscriptions to these shards are active.
    pub(crate) fn begin(&self, shards: impl IntoIterator<Item = SubjectShard>) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).extend(shards);
        self.has_begun.notify_one();
    }

    /// Waits for newly active subscriptions.
    pub(crate) async fn begun(&self) -> HashSet<SubjectShard> {
        self.has_begun.notified().await;
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
