//! Why the bus is disconnected, as found in the errors of the NATS library.

use std::fmt;

use async_nats::{ConnectError, ConnectErrorKind, ServerError};

/// Why the bus is disconnected. The codes are stable, so that monitoring can match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectReason {
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

impl DisconnectReason {
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

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed connection to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkError {
    pub(super) reason: DisconnectReason,
    /// A description for the log, without credentials.
    pub(super) description: String,
}

impl LinkError {
    pub(super) fn new(reason: DisconnectReason, description: impl Into<String>) -> Self {
        Self { reason, description: description.into() }
    }

    /// The end of a working connection.
    pub(super) fn lost(description: &dyn fmt::Display) -> Self {
        Self::new(DisconnectReason::Lost, description.to_string())
    }

    /// The failure that a server's error on an open connection means; `None` if the connection remains usable.
    pub(super) fn from_server(error: &ServerError) -> Option<Self> {
        let reason = match error {
            ServerError::AuthorizationViolation => DisconnectReason::Unauthorized,
            ServerError::SlowConsumer(_) => return None,
            ServerError::Other(text) => match text.to_ascii_lowercase() {
                text if text.contains("permissions violation") => DisconnectReason::Forbidden,
                text if text.contains("auth") || text.contains("expired") || text.contains("revoked") => {
                    DisconnectReason::Unauthorized
                }
                _ => return None,
            },
        };
        Some(Self::new(reason, error.to_string()))
    }
}

impl From<ConnectError> for LinkError {
    fn from(error: ConnectError) -> Self {
        let reason = match error.kind() {
            ConnectErrorKind::Dns => DisconnectReason::Dns,
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => DisconnectReason::Unauthorized,
            ConnectErrorKind::TimedOut => DisconnectReason::TimedOut,
            ConnectErrorKind::Tls => DisconnectReason::Tls,
            ConnectErrorKind::Io | ConnectErrorKind::ServerParse | ConnectErrorKind::MaxReconnects => reason_of_source(&error),
        };
        Self::new(reason, error.to_string())
    }
}

/// The library reports nearly every failure as an I/O error; its source tells the reason.
fn reason_of_source(error: &ConnectError) -> DisconnectReason {
    let source = std::error::Error::source(error);
    if let Some(io) = source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        match io.kind() {
            std::io::ErrorKind::ConnectionRefused => return DisconnectReason::Refused,
            std::io::ErrorKind::TimedOut => return DisconnectReason::TimedOut,
            _ if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => return DisconnectReason::Tls,
            _ => {}
        }
    }
    let by_server = source.and_then(|source| source.downcast_ref::<ServerError>()).and_then(LinkError::from_server);
    by_server.map_or(DisconnectReason::Lost, |error| error.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_understood() {
        let reason = |text: &str| LinkError::from_server(&ServerError::Other(text.to_owned())).map(|error| error.reason);
        assert_eq!(
            reason("Permissions Violation for Subscription to \"chatsphere.v2.events\""),
            Some(DisconnectReason::Forbidden)
        );
        assert_eq!(reason("User Authentication Expired"), Some(DisconnectReason::Unauthorized));
        assert_eq!(reason("Authentication Timeout"), Some(DisconnectReason::Unauthorized));
        assert_eq!(reason("Unknown Protocol Operation"), None);
    }
}
