//! The counters of the bus.

use metrics::{Counter, counter};

/// Handles of the bus's counters.
#[derive(Clone)]
pub(super) struct Meters {
    pub(super) sent: Counter,
    pub(super) received: Counter,
    /// Commits not published because the bus was disconnected.
    pub(super) disconnected: Counter,
    /// Commits not published because the queue was full.
    pub(super) queue_full: Counter,
    /// Signals not published because the queue was full.
    pub(super) signals_dropped: Counter,
    /// Events not published because they exceed the server's `max_payload`.
    pub(super) too_large: Counter,
    /// Messages that NATS dropped because this node reads too slowly.
    pub(super) slow_consumer: Counter,
    /// Messages in an unknown format.
    pub(super) unreadable: Counter,
    /// Messages of another installation, or from before a restore.
    pub(super) other_epoch: Counter,
    /// Messages without a valid tag of this cluster.
    pub(super) unverified: Counter,
    /// Messages received twice.
    pub(super) replayed: Counter,
    /// Signals, and messages of unknown nodes, that were not sent just now.
    pub(super) clock_skew: Counter,
}

impl Meters {
    pub(super) fn register() -> Self {
        let dropped = |reason: &'static str| counter!("chatsphere_bus_dropped_total", "reason" => reason);
        Self {
            sent: counter!("chatsphere_bus_sent_total"),
            received: counter!("chatsphere_bus_received_total"),
            disconnected: dropped("away"),
            queue_full: dropped("queue_full"),
            signals_dropped: dropped("signals"),
            too_large: dropped("too_large"),
            slow_consumer: dropped("slow"),
            unreadable: dropped("unreadable"),
            other_epoch: dropped("epoch"),
            unverified: dropped("unverified"),
            replayed: dropped("replayed"),
            clock_skew: dropped("clock"),
        }
    }
}
