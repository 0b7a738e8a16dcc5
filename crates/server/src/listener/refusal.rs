//! What is answered to whoever does not get as far as a call. The same problem (RFC 9457) with the same headers as calls get,
//! made here since nothing above is reached.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use chatsphere_core::{Clock as _, SystemClock};
use chatsphere_protocol::rest::Problem;

use crate::http::{RequestId, X_REQUEST_ID};
use crate::observability::Counts;

static ERRORS: Counts = Counts::new("chatsphere_errors_total", Some(("door", "listener")), "code");

/// Why a connection ends without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP, or a head against its rules.
    Malformed,
    /// HTTP/1.1 without one `Host` field.
    HostMissing,
    /// `Transfer-Encoding` other than `chunked` (RFC 9112, section 6.1).
    UnknownCoding,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112, section 6.3): what it means to a proxy may be another request.
    TwoLengths,
    /// A request line whose target is too long.
    TargetTooLong,
    /// A head that is too large, or of too many fields.
    HeadTooLarge,
    /// A head that did not end in time.
    HeadLate,
    /// No more connections are taken.
    Full,
}

impl Refusal {
    /// What hyper means where it answers this status by itself.
    pub(super) fn of_hyper(status: u16) -> Option<Self> {
        match status {
            400 => Some(Self::Malformed),
            414 => Some(Self::TargetTooLong),
            431 => Some(Self::HeadTooLarge),
            _ => None,
        }
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed", "this is no request of HTTP/1.1 that can be read"),
            Self::HostMissing => (StatusCode::BAD_REQUEST, "malformed", "a request needs exactly one Host field"),
            Self::UnknownCoding => (
                StatusCode::NOT_IMPLEMENTED,
                "transfer_encoding_unsupported",
                "of transfer codings this server reads `chunked` alone: send `Transfer-Encoding: chunked`, or Content-Length",
            ),
            Self::TwoLengths => {
                (StatusCode::BAD_REQUEST, "malformed", "a request has either Content-Length or Transfer-Encoding, not both")
            }
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long", "the address is too long"),
            Self::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "the head of the request is too large, or has more than 100 fields",
            ),
            Self::HeadLate => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the head of the request did not arrive in time: send it again",
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_connections",
                "this server holds as many connections as it can: try again",
            ),
        }
    }

    /// The answer, for hyper to send. Each has an id of its own.
    pub(super) fn response(self, cross_origin: HeaderMap) -> Response {
        let (status, headers, body) = self.answer();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().extend(cross_origin);
        response.headers_mut().extend(headers);
        response
    }

    /// The answer as it goes over the wire, where no hyper is. Small enough for the buffer of any socket.
    pub(super) fn bytes(self, cross_origin: &HeaderMap) -> Vec<u8> {
        let (status, headers, body) = self.answer();
        let length = (CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut bytes = head(status, headers.into_iter().chain([length]), cross_origin);
        bytes.extend_from_slice(&body);
        bytes
    }

    fn answer(self) -> (StatusCode, Vec<(HeaderName, HeaderValue)>, Vec<u8>) {
        let (status, code, detail) = self.parts();
        ERRORS.count(code);
        let id = RequestId::random();
        tracing::debug!(id = id.as_str(), status = status.as_u16(), code, "refused before a call");
        let problem = Problem {
            problem_type: "about:blank".into(),
            title: reason(status).into(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.into(),
            request_id: id.as_str().into(),
            error: detail.into(),
            errors: Vec::new(),
        };
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (X_REQUEST_ID, id.header()),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONNECTION, HeaderValue::from_static("close")),
        ];
        if self == Self::Full {
            headers.push((RETRY_AFTER, HeaderValue::from_static("5")));
        }
        (status, headers, serde_json::to_vec(&problem).unwrap_or_default())
    }
}

/// The answer to a preflight, as it goes over the wire: the page's call itself is to get the answer that it can read.
pub(super) fn preflight(cross_origin: &HeaderMap) -> Vec<u8> {
    let close = (CONNECTION, HeaderValue::from_static("close"));
    head(StatusCode::NO_CONTENT, [(X_REQUEST_ID, RequestId::random().header()), close], cross_origin)
}

fn head(status: StatusCode, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>, cross_origin: &HeaderMap) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", status.as_u16(), reason(status)).into_bytes();
    let own: Vec<_> = headers.into_iter().chain(date()).collect();
    for (name, value) in own.iter().map(|(name, value)| (name, value)).chain(cross_origin) {
        bytes.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// RFC 9110, section 6.6.1. hyper adds it where it is.
fn date() -> Option<(HeaderName, HeaderValue)> {
    let now = jiff::Timestamp::from_millisecond(SystemClock.now().as_millis()).ok()?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?;
    Some((DATE, HeaderValue::try_from(text).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_as_long_as_it_says() {
        for refusal in [
            Refusal::Malformed,
            Refusal::HostMissing,
            Refusal::UnknownCoding,
            Refusal::TwoLengths,
            Refusal::TargetTooLong,
            Refusal::HeadTooLarge,
            Refusal::HeadLate,
            Refusal::Full,
        ] {
            let text = String::from_utf8(refusal.bytes(&HeaderMap::new())).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
            assert!(head.contains("date: ") && head.contains(" GMT"), "{text}");
            assert!(text.len() < 1_024, "{text}");
        }
    }
}
