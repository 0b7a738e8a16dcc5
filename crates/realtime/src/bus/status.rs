//! The state of the bus: connected or not, and why. Logs each new reason, and one that lasts again after a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Gauge, gauge};
use tokio::time::Instant;

use super::disconnect::{DisconnectReason, LinkError};

/// A connection that lasted this long was stable: its failure is logged again, even for a known reason.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(30);
/// How often the same reason is logged again while the bus is disconnected.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Maximum number of kept descriptions.
const MAX_LOGGED: usize = 16;

/// The state of the bus, shared with readiness checks.
pub struct BusStatus {
    connected: AtomicBool,
    gauge: Gauge,
    state: Mutex<State>,
}

struct State {
    /// `None` while connected.
    reason: Option<DisconnectReason>,
    /// When the last connection began.
    since: Instant,
    /// Descriptions that were logged, and when.
    logged: Vec<(String, Instant)>,
}

impl BusStatus {
    pub(super) fn new() -> Self {
        let gauge = gauge!("chatsphere_bus_connected");
        gauge.set(0.0);
        let state = State { reason: Some(DisconnectReason::Connecting), since: Instant::now(), logged: Vec::new() };
        Self { connected: AtomicBool::new(false), gauge, state: Mutex::new(state) }
    }

    /// Whether events are exchanged with other nodes.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Why they are not; `None` while connected.
    pub fn disconnect_reason(&self) -> Option<DisconnectReason> {
        self.state().reason
    }

    pub(super) fn set_connected(&self, server: &str) {
        let mut state = self.state();
        state.reason = None;
        state.since = Instant::now();
        self.connected.store(true, Ordering::Relaxed);
        self.gauge.set(1.0);
        tracing::info!(server, "connected to NATS");
    }

    /// Records the failure of each server, in the order of their addresses.
    pub(super) fn set_disconnected(&self, errors: &[(&str, LinkError)]) {
        let Some((_, LinkError { reason, .. })) = errors.first() else { return };
        let description =
            errors.iter().map(|(server, error)| format!("{server}: {}", error.description)).collect::<Vec<_>>().join("; ");
        let mut state = self.state();
        let now = Instant::now();
        if state.reason.is_none() && now - state.since >= STABLE_AFTER {
            state.logged.clear();
        }
        state.reason = Some(*reason);
        self.connected.store(false, Ordering::Relaxed);
        self.gauge.set(0.0);
        if state.should_log(&description, now) {
            tracing::warn!(
                %reason,
                "NATS is away: events of other nodes come within 2 s, from the store. {description}. What to do: {}",
                reason.to_do()
            );
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether to log this description: it is new, or was logged more than `LOG_AGAIN_AFTER` ago.
    fn should_log(&mut self, description: &str, now: Instant) -> bool {
        match self.logged.iter_mut().find(|(logged, _)| logged == description) {
            Some((_, at)) if now - *at < LOG_AGAIN_AFTER => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                if self.logged.len() == MAX_LOGGED {
                    self.logged.remove(0);
                }
                self.logged.push((description.to_owned(), now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_reported_once_and_now_and_then() {
        let mut state = State { reason: None, since: Instant::now(), logged: Vec::new() };
        assert!(state.should_log("refused", Instant::now()));
        assert!(!state.should_log("refused", Instant::now()));
        assert!(state.should_log("unauthorized", Instant::now()));
        assert!(!state.should_log("refused", Instant::now()));
        tokio::time::advance(LOG_AGAIN_AFTER).await;
        assert!(state.should_log("refused", Instant::now()));
        for n in 0..100 {
            assert!(state.should_log(&n.to_string(), Instant::now()));
        }
        assert_eq!(state.logged.len(), MAX_LOGGED);
    }
}
