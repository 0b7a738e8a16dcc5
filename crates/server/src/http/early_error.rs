//! Answers to early errors, as problems (RFC 9457) with the headers of ordinary answers.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use chatsphere_net::listener::{EarlyAnswers, EarlyError};

use super::cors::{Cors, is_preflight};
use super::failure::Failure;
use crate::observability::CounterFamily;
use crate::request::{AllowedOrigins, RequestId, X_REQUEST_ID};

static ERRORS: CounterFamily = CounterFamily::new("chatsphere_errors_total", Some(("door", "listener")), "code");

/// Builds these answers, readable for pages of the allowed origins.
pub fn early_answers(origins: &AllowedOrigins) -> EarlyAnswers {
    let cors = Cors::new(origins);
    EarlyAnswers::new(move |error, method, request| {
        let mut fields = HeaderMap::new();
        cors.add(cors.asked(method, request).as_ref(), &mut fields);
        let id = RequestId::random();
        // A page could not read an error of a preflight. So the preflight passes, and the call after it gets an error that the
        // page can read.
        let passes = error == EarlyError::Full && is_preflight(method, request) && !fields.is_empty();
        let mut answer = if passes { no_content() } else { problem(error, &id) };
        answer.headers_mut().extend(fields);
        answer.headers_mut().insert(X_REQUEST_ID, id.header());
        answer
    })
}

fn no_content() -> Response<Vec<u8>> {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

fn problem(error: EarlyError, id: &RequestId) -> Response<Vec<u8>> {
    let (status, code) = (error.status(), code(error));
    ERRORS.increment(code);
    tracing::debug!(id = id.as_str(), status = status.as_u16(), code, "answered before a call");
    let failure = Failure::new(status, code, error.detail());
    let mut answer = Response::new(serde_json::to_vec(&failure.parts().body(id.as_str())).unwrap_or_default());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if error == EarlyError::Full {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

fn code(error: EarlyError) -> &'static str {
    match error {
        EarlyError::Malformed | EarlyError::HostMissing | EarlyError::TwoLengths => "malformed",
        EarlyError::UnknownCoding => "transfer_encoding_unsupported",
        EarlyError::TargetTooLong => "uri_too_long",
        EarlyError::HeadTooLarge => "head_too_large",
        EarlyError::HeadLate => "request_timeout",
        EarlyError::Full => "too_many_connections",
    }
}
