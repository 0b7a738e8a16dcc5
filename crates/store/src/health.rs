//! Tells of the database's failures: each in the log and the metrics, but an outage only once until it is over.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Counter;

/// Whether the database was reached when it was last tried, for reading or for writing.
pub(crate) struct Health {
    side: &'static str,
    away: AtomicBool,
    damaged: AtomicBool,
    errors: Counter,
}

impl Health {
    pub(crate) fn new(side: &'static str) -> Self {
        Self {
            side,
            away: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            errors: metrics::counter!("chatsphere_store_errors_total"),
        }
    }

    /// Something was answered.
    pub(crate) fn back(&self) {
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(side = self.side, "the database is back");
        }
    }

    /// The database can't be reached, or has no space.
    pub(crate) fn away(&self, reason: &dyn fmt::Display) {
        self.errors.increment(1);
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::error!(side = self.side, %reason, "the database is away");
        }
    }

    /// Whether it was away when it was last tried.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// What is stored can't be read any more. No later success changes that: other parts of it may still be whole.
    pub(crate) fn damaged(&self, reason: &dyn fmt::Display) {
        self.errors.increment(1);
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(side = self.side, %reason, "the database is damaged; stop the server, keep the files, and restore \
             a backup");
        }
    }

    /// Whether it was ever found damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The database refused a statement.
    pub(crate) fn failed(&self, reason: &dyn fmt::Display) {
        self.errors.increment(1);
        tracing::error!(side = self.side, %reason, "the database failed");
    }

    /// Another writer got in the way, and the same is tried again.
    pub(crate) fn crossed(&self, reason: &dyn fmt::Display) {
        tracing::debug!(%reason, "two writers crossed");
    }
}
