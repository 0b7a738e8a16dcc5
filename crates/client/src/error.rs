use std::time::Duration;

use chatsphere_protocol::frames::ErrorFrame;
use chatsphere_protocol::rest::FieldError;

/// Why a REST call did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base address is not one that this client can call.
    #[error("{0:?} is not an address such as https://chat.example.com")]
    Address(String),
    /// The token holds characters that no header can carry.
    #[error("the token holds characters that no token has")]
    Token,
    /// The server refused the call.
    #[error(transparent)]
    Refused(#[from] Box<ApiError>),
    /// The call did not get through, or its answer did not come back: it is not known whether it took effect.
    #[error("the server could not be reached")]
    Transport(#[source] reqwest::Error),
    /// The answer is not what this version understands.
    #[error("the server's answer can't be read")]
    Answer(#[source] serde_json::Error),
    /// A `Link` leads away from the server that sent it; the token is not sent there.
    #[error("the link to the next page leads to another server")]
    ForeignLink,
    /// What is to be trusted is no certificate in PEM.
    #[error("what is to be trusted is no certificate in PEM")]
    Certificate,
    /// TLS can't be set up on this machine.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
}

impl Error {
    /// The server's refusal, if it is one.
    pub fn refusal(&self) -> Option<&ApiError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// An answer other than success (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({code}, HTTP {status})")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The stable code; `http_error` where the answer came from something in front of the server.
    pub code: String,
    /// What went wrong, and what to do.
    pub detail: String,
    /// Names the request in the server's log.
    pub request_id: Option<String>,
    /// How long to wait before the same call may succeed.
    pub retry_after: Option<Duration>,
    /// The fields that break a rule.
    pub fields: Vec<FieldError<'static>>,
}

/// Why a join or a message did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server refused it for good.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Box<ErrorFrame<'static>>),
    /// It was left or replaced before it was answered.
    #[error("the room was left")]
    Left,
    /// The connection is closed and does not come back. Whether a message was stored is not known.
    #[error("the connection is closed")]
    Closed,
}
