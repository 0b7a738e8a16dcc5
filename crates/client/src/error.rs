use std::time::Duration;

use chatsphere_protocol::frames::ErrorFrame;
use chatsphere_protocol::rest::FieldError;

/// Why a REST call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base address is invalid.
    #[error("{0:?} is not an address such as https://chat.example.com")]
    Address(String),
    /// The token contains characters that are invalid in a header.
    #[error("the token holds characters that no token has")]
    Token,
    /// The server rejected the call.
    #[error(transparent)]
    Refused(#[from] Box<ApiError>),
    /// The call or its answer was lost: it is unknown whether it took effect.
    #[error("the server could not be reached")]
    Transport(#[source] reqwest::Error),
    /// The answer could not be parsed.
    #[error("the server's answer can't be read")]
    Answer(#[source] serde_json::Error),
    /// A `Link` leads to another server, which must not get the token.
    #[error("the link to the next page leads to another server")]
    ForeignLink,
    /// The trusted certificates are not PEM certificates.
    #[error("what is to be trusted is no certificate in PEM")]
    Certificate,
    /// TLS is not available on this system.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
}

impl Error {
    /// The server's error answer, if this is one.
    pub fn refusal(&self) -> Option<&ApiError> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// An error answer (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} ({code}, HTTP {status})")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The stable code; `http_error` if the answer came from a proxy or gateway.
    pub code: String,
    /// What went wrong, and what to do.
    pub detail: String,
    /// The id of the request in the server's log.
    pub request_id: Option<String>,
    /// The delay after which the call may succeed.
    pub retry_after: Option<Duration>,
    /// The invalid fields.
    pub fields: Vec<FieldError<'static>>,
}

/// Why a join or a message failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server rejected it permanently.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Box<ErrorFrame<'static>>),
    /// The room was left, or the join replaced, before it was answered.
    #[error("the room was left")]
    Left,
    /// The connection is closed for good. It is unknown whether a message was stored.
    #[error("the connection is closed")]
    Closed,
}
