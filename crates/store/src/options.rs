//! The options for opening a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::CommitSink;

use crate::client_id_key::ClientIdKey;
use crate::fingerprints::KeyFingerprints;
use crate::url::DatabaseUrl;

/// The bounds of the queue of writes. Beyond them a write is answered with
/// [`Unavailable::QueueFull`](chatsphere_core::Unavailable::QueueFull).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// The largest number of writes.
    pub writes: usize,
    /// The largest number of bytes, by the approximate memory that the writes take.
    pub bytes: usize,
}

impl Default for QueueBounds {
    /// 20,000 writes, 64 MiB.
    fn default() -> Self {
        Self { writes: 20_000, bytes: 64 * 1024 * 1024 }
    }
}

/// The default of [`OpenOptions::truncate_after`]. Deleted contents leave the files within a minute.
const TRUNCATE_AFTER: Duration = Duration::from_secs(20);

/// The options of [`open`](crate::open).
#[derive(Clone)]
pub struct OpenOptions {
    /// The database.
    pub url: DatabaseUrl,
    /// The fingerprints of this node's keys, which are compared with the stored ones.
    pub keys: KeyFingerprints,
    /// The sink, which is called after each commit that added events.
    pub sink: Arc<dyn CommitSink>,
    /// The bounds of the queue of writes.
    pub queue: QueueBounds,
    /// The number of reads that run at the same time, each on its own connection; at least 1. A few more connections serve
    /// urgent reads, which must not wait behind pages.
    pub readers: usize,
    /// The bytes that must stay free on SQLite's disk. Below that, writes that let the database grow are answered with
    /// [`Unavailable::DiskFull`](chatsphere_core::Unavailable::DiskFull), and rights can still be revoked. 0 is no limit;
    /// `None` is 64 MiB, or an eighth of a smaller file system.
    pub min_free: Option<u64>,
    /// The bytes that a user may store in a day (UTC), counted over all nodes; 0 is no limit. Beyond it a write is answered
    /// with [`Error::QuotaExceeded`](chatsphere_core::Error::QuotaExceeded).
    pub daily_bytes: u64,
    /// How long SQLite's log keeps contents that were erased. Then it is truncated, unless a backup or a long read needs it.
    pub truncate_after: Duration,
    /// The key by which a message that was deleted for good is recognized when a client sends it again. Without it, such a
    /// message is stored anew.
    pub client_id_key: Option<ClientIdKey>,
}

impl OpenOptions {
    /// Makes options with defaults: 4 readers on SQLite, 16 on PostgreSQL, [`QueueBounds::default`].
    pub fn new(url: DatabaseUrl, keys: KeyFingerprints, sink: Arc<dyn CommitSink>) -> Self {
        let readers = if url.is_sqlite() { 4 } else { 16 };
        Self {
            url,
            keys,
            sink,
            queue: QueueBounds::default(),
            readers,
            min_free: None,
            daily_bytes: 0,
            truncate_after: TRUNCATE_AFTER,
            client_id_key: None,
        }
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
