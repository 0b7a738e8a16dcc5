//! What the bus counts.

use metrics::{Counter, counter};

/// The bus's counters, their handles taken once.
#[derive(Clone)]
pub(super) struct Meters {
    pub(super) sent: Counter,
    pub(super) received: Counter,
    /// Commits not told, since the bus was away.
    pub(super) away: Counter,
    /// Commits not told, since too much waited already.
    pub(super) queue_full: Counter,
    /// Signals not told, since too much waited already.
    pub(super) signals: Counter,
    /// Events not told, since the NATS server takes no message that long.
    pub(super) too_large: Counter,
    /// Messages that came faster than they were taken.
    pub(super) slow: Counter,
    /// Messages that are in no form this version knows.
    pub(super) unreadable: Counter,
    /// Messages of another installation, or from before a restore.
    pub(super) epoch: Counter,
    /// Messages that bear no signature of this cluster.
    pub(super) unverified: Counter,
    /// Messages that were here before.
    pub(super) replayed: Counter,
    /// Messages of a node not heard before, whose time is not now.
    pub(super) clock: Counter,
}

impl Meters {
    pub(super) fn register() -> Self {
        let dropped = |reason: &'static str| counter!("chatsphere_bus_dropped_total", "reason" => reason);
        Self {
            sent: counter!("chatsphere_bus_sent_total"),
            received: counter!("chatsphere_bus_received_total"),
            away: dropped("away"),
            queue_full: dropped("queue_full"),
            signals: dropped("signals"),
            too_large: dropped("too_large"),
            slow: dropped("slow"),
            unreadable: dropped("unreadable"),
            epoch: dropped("epoch"),
            unverified: dropped("unverified"),
            replayed: dropped("replayed"),
            clock: dropped("clock"),
        }
    }
}
