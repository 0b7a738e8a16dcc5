//! The metrics of the listener.

use metrics::{Counter, Gauge, counter, gauge};

use super::timer::Overdue;

/// Handles of the listener's metrics.
#[derive(Clone)]
pub(super) struct Meters {
    pub(super) open: Gauge,
    pub(super) refused_full: Counter,
    pub(super) refused_descriptors: Counter,
    pub(super) handshake_failed: Counter,
    pub(super) handshake_late: Counter,
    late_head: Counter,
    late_idle: Counter,
    late_write: Counter,
}

impl Meters {
    pub(super) fn register() -> Self {
        const REFUSED: &str = "chatsphere_connections_refused_total";
        const HANDSHAKES: &str = "chatsphere_tls_handshakes_failed_total";
        const TIMED_OUT: &str = "chatsphere_connections_timed_out_total";
        Self {
            open: gauge!("chatsphere_connections", "kind" => "http"),
            refused_full: counter!(REFUSED, "reason" => "full"),
            refused_descriptors: counter!(REFUSED, "reason" => "descriptors"),
            handshake_failed: counter!(HANDSHAKES, "reason" => "error"),
            handshake_late: counter!(HANDSHAKES, "reason" => "timeout"),
            late_head: counter!(TIMED_OUT, "waiting_for" => "head"),
            late_idle: counter!(TIMED_OUT, "waiting_for" => "idle"),
            late_write: counter!(TIMED_OUT, "waiting_for" => "write"),
        }
    }

    pub(super) fn timed_out(&self, overdue: Overdue) {
        match overdue {
            Overdue::Head { .. } => self.late_head.increment(1),
            Overdue::Idle => self.late_idle.increment(1),
            Overdue::Write => self.late_write.increment(1),
        }
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn opened(&self) -> Open {
        self.open.increment(1.0);
        Open(self.open.clone())
    }
}

pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
