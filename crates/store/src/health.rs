//! Logs and counts the database's failures. An outage is logged once until it is over.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Counter;

/// Whether the database worked when it was last used, for reads or for writes.
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

    /// The database answered.
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

    /// Whether the database was unavailable when it was last used.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Stored data is damaged. Later successes do not reset this, because other parts of the database may still be intact.
    pub(crate) fn damaged(&self, reason: &dyn fmt::Display) {
        self.errors.increment(1);
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::error!(side = self.side, %reason, "the database is damaged; stop the server, keep the files, and restore \
             a backup");
        }
    }

    /// Whether damage was ever found.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The database rejected a statement.
    pub(crate) fn failed(&self, reason: &dyn fmt::Display) {
        self.errors.increment(1);
        tracing::error!(side = self.side, %reason, "the database failed");
    }

    /// The transaction conflicted with that of another writer, and is repeated.
    pub(crate) fn crossed(&self, reason: &dyn fmt::Display) {
        tracing::debug!(%reason, "two writers crossed");
    }
}
