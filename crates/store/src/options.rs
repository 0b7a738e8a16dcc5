//! What opening a store needs.

use std::fmt;
use std::sync::Arc;

use chatsphere_core::CommitSink;

use crate::fingerprints::KeyFingerprints;
use crate::url::DatabaseUrl;

/// How much may wait to be written before [`Unavailable::QueueFull`](chatsphere_core::Unavailable::QueueFull) is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// How many writes.
    pub writes: usize,
    /// How many bytes of message contents and the like, as counted in memory.
    pub bytes: usize,
}

impl Default for QueueBounds {
    /// 20,000 writes, 64 MiB.
    fn default() -> Self {
        Self { writes: 20_000, bytes: 64 * 1024 * 1024 }
    }
}

/// What [`open`](crate::open) needs.
#[derive(Clone)]
pub struct OpenOptions {
    /// Which database.
    pub url: DatabaseUrl,
    /// Of this node's keys; compared with the database's.
    pub keys: KeyFingerprints,
    /// Called after each commit that added events to a room.
    pub sink: Arc<dyn CommitSink>,
    /// How much may wait to be written.
    pub queue: QueueBounds,
    /// How many reads run at the same time, each on a connection of its own. At least 1. A few more
    /// connections are kept for the look-ups that must not wait behind pages.
    pub readers: usize,
    /// On SQLite, how many bytes of the disk stay free: below, what lets the database grow is answered by
    /// [`Unavailable::DiskFull`](chatsphere_core::Unavailable::DiskFull), and changes of rights go through. 0 switches that
    /// off; `None` is 64 MiB, or an eighth of a smaller file system.
    pub min_free: Option<u64>,
    /// How many bytes a user may store a day (UTC), as [`Error::QuotaExceeded`](chatsphere_core::Error::QuotaExceeded) tells; 0
    /// is no limit. Counted over all nodes.
    pub daily_bytes: u64,
}

impl OpenOptions {
    /// With the defaults: 4 readers on SQLite, 16 on PostgreSQL, [`QueueBounds::default`].
    pub fn new(url: DatabaseUrl, keys: KeyFingerprints, sink: Arc<dyn CommitSink>) -> Self {
        let readers = if url.is_sqlite() { 4 } else { 16 };
        Self { url, keys, sink, queue: QueueBounds::default(), readers, min_free: None, daily_bytes: 0 }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("url", &self.url)
            .field("keys", &self.keys)
            .field("queue", &self.queue)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}
