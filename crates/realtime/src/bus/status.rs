//! The state of the bus: connected or away, and why. Logs each reason once.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, ServerError};
use metrics::{Gauge, gauge};
use tokio::time::Instant;

/// Minimum duration of a good connection; its failure is logged again, even for a known reason.
pub(super) const GOOD: Duration = Duration::from_secs(30);
/// How often the same reason is logged again while the bus is away.
const REMIND: Duration = Duration::from_secs(600);
/// Maximum number of remembered reasons.
const MAX_LOGGED: usize = 16;

/// Why the bus is away. The codes are stable, so that monitoring can match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// This node has not finished its first attempt to connect.
    Connecting,
    /// The server's port is closed.
    Refused,
    /// The host name does not resolve.
    Dns,
    /// A certificate is not trusted, or the server does not offer TLS.
    Tls,
    /// The server rejects the credentials.
    Unauthorized,
    /// The server accepts the credentials, but forbids publishing or subscribing.
    Forbidden,
    /// The credentials file is unreadable.
    Credentials,
    /// The server did not answer in time.
    TimedOut,
    /// The connection ended, or failed for another reason.
    Lost,
}

impl Away {
    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Refused => "refused",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Credentials => "credentials",
            Self::TimedOut => "timeout",
            Self::Lost => "lost",
        }
    }

    /// What the operator can do about it.
    pub const fn to_do(self) -> &'static str {
        match self {
            Self::Connecting => "wait",
            Self::Refused => "start the NATS server, or correct host and port in NATS_URL",
            Self::Dns => "correct the host in NATS_URL, or the name service",
            Self::Tls => "compare nats_tls_ca, nats_tls_cert and nats_tls_key with the server's tls block",
            Self::Unauthorized => {
                "compare the user, password or token in NATS_URL, nats_nkey_seed or nats_credentials with what the NATS \
                 server knows"
            }
            Self::Forbidden => "let this user publish and subscribe to chatsphere.> on the NATS server",
            Self::Credentials => "correct nats_credentials, or the rights of that file",
            Self::TimedOut | Self::Lost => "look at the NATS server and the network; the node connects again by itself",
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) away: Away,
    /// A description for the log, without credentials.
    pub(super) what: String,
}

impl Trouble {
    pub(super) fn new(away: Away, what: impl Into<String>) -> Self {
        Self { away, what: what.into() }
    }

    /// The failure that a server's error on an open connection means; `None` if the connection remains usable.
    pub(super) fn of_server(error: &ServerError) -> Option<Self> {
        let away = match error {
            ServerError::AuthorizationViolation => Away::Unauthorized,
            ServerError::SlowConsumer(_) => return None,
            ServerError::Other(text) => match text.to_ascii_lowercase() {
                text if text.contains("permissions violation") => Away::Forbidden,
                text if text.contains("auth") || text.contains("expired") || text.contains("revoked") => Away::Unauthorized,
                _ => return None,
            },
        };
        Some(Self::new(away, error.to_string()))
    }
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        let away = match error.kind() {
            ConnectErrorKind::Dns => Away::Dns,
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Away::Unauthorized,
            ConnectErrorKind::TimedOut => Away::TimedOut,
            ConnectErrorKind::Tls => Away::Tls,
            ConnectErrorKind::Io | ConnectErrorKind::ServerParse | ConnectErrorKind::MaxReconnects => of_source(&error),
        };
        Self::new(away, error.to_string())
    }
}

/// The library reports nearly every failure as an I/O error; the source tells the kind.
fn of_source(error: &ConnectError) -> Away {
    let source = std::error::Error::source(error);
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        match io.kind() {
            std::io::ErrorKind::ConnectionRefused => return Away::Refused,
            std::io::ErrorKind::TimedOut => return Away::TimedOut,
            _ if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => return Away::Tls,
            _ => {}
        }
    }
    let said = source.and_then(|source| source.downcast_ref::<ServerError>()).and_then(Trouble::of_server);
    said.map_or(Away::Lost, |trouble| trouble.away)
}

/// The state of the bus, shared with readiness checks.
pub struct BusStatus {
    connected: AtomicBool,
    gauge: Gauge,
    state: Mutex<State>,
}

struct State {
    away: Option<Away>,
    since: Instant,
    /// Reasons that were logged, and when.
    logged: Vec<(String, Instant)>,
}

impl BusStatus {
    pub(super) fn new() -> Self {
        let gauge = gauge!("chatsphere_bus_connected");
        gauge.set(0.0);
        let state = State { away: Some(Away::Connecting), since: Instant::now(), logged: Vec::new() };
        Self { connected: AtomicBool::new(false), gauge, state: Mutex::new(state) }
    }

    /// Whether events are exchanged with other nodes.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Why they are not; `None` while connected.
    pub fn away(&self) -> Option<Away> {
        self.state().away
    }

    pub(super) fn connected(&self, place: &str) {
        let mut state = self.state();
        state.away = None;
        state.since = Instant::now();
        self.connected.store(true, Ordering::Relaxed);
        self.gauge.set(1.0);
        tracing::info!(server = place, "connected to NATS");
    }

    /// Records the failure of each server, in the order of their addresses.
    pub(super) fn lost(&self, troubles: &[(&str, Trouble)]) {
        let Some((_, Trouble { away, .. })) = troubles.first() else { return };
        let reason =
            troubles.iter().map(|(place, trouble)| format!("{place}: {}", trouble.what)).collect::<Vec<_>>().join("; ");
        let mut state = self.state();
        let now = Instant::now();
        if state.away.is_none() && now - state.since >= GOOD {
            state.logged.clear();
        }
        state.away = Some(*away);
        self.connected.store(false, Ordering::Relaxed);
        self.gauge.set(0.0);
        if state.is_news(&reason, now) {
            tracing::warn!(
                reason = %away,
                "NATS is away: events of other nodes come within 2 s, from the store. {reason}. What to do: {}",
                away.to_do()
            );
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether to log this reason: it is new, or was logged more than `REMIND` ago.
    fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        match self.logged.iter_mut().find(|(logged, _)| logged == reason) {
            Some((_, at)) if now - *at < REMIND => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                if self.logged.len() == MAX_LOGGED {
                    self.logged.remove(0);
                }
                self.logged.push((reason.to_owned(), now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_told_once_and_now_and_then() {
        let mut state = State { away: None, since: Instant::now(), logged: Vec::new() };
        assert!(state.is_news("refused", Instant::now()));
        assert!(!state.is_news("refused", Instant::now()));
        assert!(state.is_news("unauthorized", Instant::now()));
        assert!(!state.is_news("refused", Instant::now()));
        tokio::time::advance(REMIND).await;
        assert!(state.is_news("refused", Instant::now()));
        for n in 0..100 {
            assert!(state.is_news(&n.to_string(), Instant::now()));
        }
        assert_eq!(state.logged.len(), MAX_LOGGED);
    }

    #[test]
    fn what_a_server_says_is_understood() {
        let away = |text: &str| Trouble::of_server(&ServerError::Other(text.to_owned())).map(|trouble| trouble.away);
        assert_eq!(away("Permissions Violation for Subscription to \"chatsphere.v2.events\""), Some(Away::Forbidden));
        assert_eq!(away("User Authentication Expired"), Some(Away::Unauthorized));
        assert_eq!(away("Authentication Timeout"), Some(Away::Unauthorized));
        assert_eq!(away("Unknown Protocol Operation"), None);
    }
}
