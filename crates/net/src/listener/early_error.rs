//! Errors in requests that never reach the router, and their answers.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// Why a connection is closed without calling the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyError {
    /// Not HTTP, or a malformed head.
    Malformed,
    /// An HTTP/1.1 request without exactly one `Host` field.
    HostMissing,
    /// A `Transfer-Encoding` other than `chunked` (RFC 9112, section 6.1).
    UnknownCoding,
    /// `Content-Length` together with `Transfer-Encoding` (RFC 9112, section 6.3): a proxy might see a different request.
    TwoLengths,
    /// The target of the request line is too long.
    TargetTooLong,
    /// The head is too large or has too many fields.
    HeadTooLarge,
    /// The head did not end in time.
    HeadLate,
    /// The maximum number of connections is reached.
    Full,
}

impl EarlyError {
    /// All variants.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::HostMissing,
        Self::UnknownCoding,
        Self::TwoLengths,
        Self::TargetTooLong,
        Self::HeadTooLarge,
        Self::HeadLate,
        Self::Full,
    ];

    /// The error that hyper means by this status.
    pub(super) fn of_hyper(status: u16) -> Option<Self> {
        match status {
            400 => Some(Self::Malformed),
            414 => Some(Self::TargetTooLong),
            431 => Some(Self::HeadTooLarge),
            _ => None,
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed | Self::HostMissing | Self::TwoLengths => StatusCode::BAD_REQUEST,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadLate => StatusCode::REQUEST_TIMEOUT,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A description for the client, and what to do.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Malformed => "this is no request of HTTP/1.1 that can be read",
            Self::HostMissing => "a request needs exactly one Host field",
            Self::UnknownCoding => {
                "of transfer codings this server reads `chunked` alone: send `Transfer-Encoding: chunked`, or Content-Length"
            }
            Self::TwoLengths => "a request has either Content-Length or Transfer-Encoding, not both",
            Self::TargetTooLong => "the address is too long",
            Self::HeadTooLarge => "the head of the request is too large, or has more than 100 fields",
            Self::HeadLate => "the head of the request did not arrive in time: send it again",
            Self::Full => "this server holds as many connections as it can: try again",
        }
    }
}

type Answer = dyn Fn(EarlyError, &Method, &HeaderMap) -> Response<Vec<u8>> + Send + Sync;

/// Builds the answers to early errors. The default is one line of plain text.
#[derive(Clone)]
pub struct EarlyAnswers(Arc<Answer>);

impl EarlyAnswers {
    /// Uses `answer` as the builder. It gets what is known of the request: its method, as `OPTIONS` or else `GET`, and the
    /// fields that CORS needs: `Origin`, `Access-Control-Request-Method` and `Access-Control-Request-Headers`. An answer should
    /// fit, with head and body, into the send buffer of any socket.
    pub fn new(answer: impl Fn(EarlyError, &Method, &HeaderMap) -> Response<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The answer as a response for hyper.
    pub(super) fn response(&self, error: EarlyError, method: &Method, fields: &HeaderMap) -> Response<Body> {
        let mut answer = (self.0)(error, method, fields);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer.map(Body::from)
    }

    /// The answer as encoded bytes, for use without hyper.
    pub(super) fn bytes(&self, error: EarlyError, method: &Method, fields: &HeaderMap) -> Vec<u8> {
        let (mut head, body) = (self.0)(error, method, fields).into_parts();
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if head.status != StatusCode::NO_CONTENT {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        // RFC 9110, section 6.6.1. hyper adds this field itself.
        if let Ok(date) = HeaderValue::try_from(date()) {
            head.headers.insert(DATE, date);
        }
        let reason = head.status.canonical_reason().unwrap_or("Error");
        let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).into_bytes();
        for (name, value) in &head.headers {
            bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        bytes
    }
}

#[allow(clippy::disallowed_methods, reason = "an answer's date is for people and caches: nothing is decided by it")]
fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

impl Default for EarlyAnswers {
    fn default() -> Self {
        Self::new(|error, _, _| {
            let mut answer = Response::new(error.detail().into());
            *answer.status_mut() = error.status();
            answer
        })
    }
}

impl fmt::Debug for EarlyAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EarlyAnswers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        for error in EarlyError::ALL {
            let bytes = EarlyAnswers::default().bytes(error, &Method::GET, &HeaderMap::new());
            let text = String::from_utf8(bytes).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", error.status().as_u16())), "{text}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
            assert!(head.contains("date: ") && head.contains(" GMT") && head.contains("connection: close"), "{text}");
            assert_eq!(body, error.detail());
        }
    }
}
