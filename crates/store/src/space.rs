//! Whether the database's disk has space for writes that let the database grow.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Counter;

/// The state of the disk. It is shared by the writer, which rejects writes by it, and the thread that checks the disk.
pub(crate) struct Space {
    low: AtomicBool,
    /// Whether a thread checks the disk, and reports when there is space again.
    watched: bool,
    refused: Counter,
}

impl Space {
    /// Makes the state of a disk with space.
    pub(crate) fn new(watched: bool) -> Self {
        Self { low: AtomicBool::new(false), watched, refused: metrics::counter!("chatsphere_disk_refused_total") }
    }

    /// Whether so little space is left that writes which let the database grow are rejected.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Sets whether little space is left. Returns whether this is a change.
    pub(crate) fn set_low(&self, low: bool) -> bool {
        self.low.swap(low, Ordering::Relaxed) != low
    }

    /// A write failed because the disk is full. Later writes are rejected only if a thread checks the disk. Otherwise each one
    /// is tried, because nothing would report that there is space again.
    pub(crate) fn met_full_disk(&self) {
        if self.watched {
            self.set_low(true);
        }
    }

    /// Counts a write that was rejected for lack of space.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }
}
