//! Whether the database's disk has room to grow, as the writer is told.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Counter;

/// Shared by the writer, which refuses by it, and by who looks at the disk.
pub(crate) struct Space {
    low: AtomicBool,
    /// Whether somebody looks at the disk, and tells when there is room again.
    watched: bool,
    refused: Counter,
}

impl Space {
    /// Has room until somebody says otherwise.
    pub(crate) fn new(watched: bool) -> Self {
        Self { low: AtomicBool::new(false), watched, refused: metrics::counter!("chatsphere_disk_refused_total") }
    }

    /// Whether so little is left that what lets the database grow is refused.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Answers whether this is news.
    pub(crate) fn set_low(&self, low: bool) -> bool {
        self.low.swap(low, Ordering::Relaxed) != low
    }

    /// A write met a full disk. What comes next is refused only where somebody looks at the disk; otherwise it tries for
    /// itself, since nobody would tell that there is room again.
    pub(crate) fn met_full_disk(&self) {
        if self.watched {
            self.set_low(true);
        }
    }

    /// A write was refused for want of space.
    pub(crate) fn refused(&self) {
        self.refused.increment(1);
    }
}
