//! The middleware around every call: request id, time limit, panic handler, problem bodies, access log, metrics.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chatsphere_core::signal::SIGNALS_PER_SECOND;
use chatsphere_core::{Error, Limits, RateLimited, TokenRefusal, Unavailable};
use chatsphere_net::in_time;
use chatsphere_net::listener::Peer;
use futures_util::FutureExt;
use tracing::Instrument;

use super::body::BODY_TIMEOUT;
use super::cors::{Cors, is_preflight};
use super::demo::{DEMO_BURST, DEMO_PER_SECOND};
use super::failure::{Failure, Hint};
use super::meters;
use super::options;
use super::state::HttpState;
use super::under_way::UnderWay;
use crate::request::{RequestId, X_REQUEST_ID};

/// Timeout of a call after its body has arrived.
pub(crate) const HANDLING_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The label of calls without a route: a label with the requested path would create a time series per scanned path.
const UNMATCHED: &str = "unmatched";
/// Maximum length of a logged path without a route, in bytes, and of each of its segments, in characters.
const LONGEST_PATH: usize = 128;
const LONGEST_SEGMENT: usize = 32;

/// The state of the envelope.
#[derive(Clone)]
pub(crate) struct Enveloping {
    pub(crate) http: Arc<HttpState>,
    pub(crate) cors: Arc<Cors>,
}

/// Wraps every call.
pub(crate) async fn envelope(
    State(Enveloping { http, cors }): State<Enveloping>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId::take(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = match &route {
        Some(route) => route.as_str(),
        // `/ws` has no route here: the WebSocket front door handles it before the router.
        None if request.uri().path() == "/ws" => "/ws",
        None => UNMATCHED,
    };
    let method = method_label(request.method());
    let is_options = request.method() == Method::OPTIONS;
    let is_preflight = is_preflight(request.method(), request.headers());
    let asked = cors.asked(request.method(), request.headers());
    request.extensions_mut().insert(id.clone());
    let under_way = UnderWay::default();
    request.extensions_mut().insert(under_way.clone());
    let is_safe = request.method().is_safe();

    let client = request.extensions().get::<Peer>().map(|peer| peer.addr.ip());
    let path = (route == UNMATCHED).then(|| for_the_log(request.uri().path()));
    // `Authenticated` fills these in when the caller is known.
    let (user, token) = (tracing::field::Empty, tracing::field::Empty);
    let client = client.as_ref().map(tracing::field::display);
    let span = tracing::info_span!("request", id = id.as_str(), method, route, client, user, token);
    let (mut response, error) = async {
        let limit = if request.body().is_end_stream() { HANDLING_TIMEOUT } else { HANDLING_TIMEOUT + BODY_TIMEOUT };
        let late = Failure::timeout(request.method());
        if is_preflight {
            return finish(StatusCode::OK.into_response(), &id, &http.chat.limits);
        }
        let response = guard(next.run(request), limit, late).await;
        let response = if is_options { options::answer(&http, route, response).await } else { response };
        let (response, error) = finish(response, &id, &http.chat.limits);
        // The result of a write is always sent; a read can be repeated.
        match under_way.count(&http.chat, response, is_safe) {
            Some(response) => (response, error),
            None => finish(Failure::from(Error::from(Unavailable::Overloaded)).into_response(), &id, &http.chat.limits),
        }
    }
    .instrument(span.clone())
    .await;
    response.headers_mut().insert(X_REQUEST_ID, id.header());
    cors.add(asked.as_ref(), response.headers_mut());

    let elapsed = started.elapsed();
    let status = response.status();
    meters::answered(method, route, status, elapsed);
    let ms = (elapsed.as_secs_f64() * 1e5).round() / 1e2;
    span.in_scope(|| {
        // A line per successful call would hide the others, and take more time than many calls.
        let status_code = status.as_u16();
        if status.is_server_error() {
            tracing::warn!(status = status_code, code = error, path, ms, "answered");
        } else if status.is_client_error() {
            tracing::info!(status = status_code, code = error, path, ms, "answered");
        } else {
            tracing::debug!(status = status_code, path, ms, "answered");
        }
    });
    response
}

/// Awaits the call. A panic becomes an answer, and so does a timeout (`late`).
async fn guard(call: impl Future<Output = Response>, limit: Duration, late: Failure) -> Response {
    let call = AssertUnwindSafe(call).catch_unwind();
    match in_time(limit, call).await {
        Ok(Ok(response)) => response,
        // The panic's payload may quote a body, so it is not logged; the panic hook logs the location.
        Ok(Err(_)) => {
            tracing::error!("a call panicked");
            Failure::from(Error::Internal).into_response()
        }
        Err(_) => late.into_response(),
    }
}

/// Gives an error its body, and every answer the common headers. Returns the error's code, if any.
fn finish(mut response: Response, id: &RequestId, limits: &Limits) -> (Response, Option<&'static str>) {
    let status = response.status();
    let failure = response.extensions_mut().remove::<Failure>();
    let failure =
        failure.or_else(|| (status.is_client_error() || status.is_server_error()).then(|| Failure::of_status(status)));
    if let Some(failure) = &failure {
        response = problem(failure, response, id, limits);
    }
    let error = failure.map(|failure| {
        let parts = failure.parts();
        let refusal = if let Hint::Challenge(refusal) = parts.hint { Some(refusal) } else { None };
        meters::failed(parts.code, refusal);
        parts.code
    });
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    (response, error)
}

/// A path without a route, shortened for the log. Of a token pasted into a URL only a part of the header remains, which all
/// tokens share.
fn for_the_log(path: &str) -> String {
    let mut text = String::new();
    for segment in path.split('/').skip(1) {
        let short: String = segment.chars().take(LONGEST_SEGMENT).collect();
        let cut = if short.len() < segment.len() { "…" } else { "" };
        text.extend(["/", &short.escape_default().to_string(), cut]);
        if text.len() >= LONGEST_PATH {
            text.truncate(text.floor_char_boundary(LONGEST_PATH));
            text.push('…');
            break;
        }
    }
    text
}

/// Keeps the status and headers of an answer, such as `Allow`, and replaces its body by a problem (RFC 9457).
fn problem(failure: &Failure, response: Response, id: &RequestId, limits: &Limits) -> Response {
    let parts = failure.parts();
    let body = serde_json::to_vec(&parts.body(id.as_str())).unwrap_or_default();
    let (mut head, _) = response.into_parts();
    head.status = parts.status;
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    hint(parts.hint, &mut head.headers, limits);
    Response::from_parts(head, Body::from(body))
}

fn hint(hint: Hint, headers: &mut HeaderMap, limits: &Limits) {
    match hint {
        Hint::None => {}
        Hint::RetryAfter(wait) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        Hint::AcceptEncoding => insert(headers, ACCEPT_ENCODING, "identity"),
        Hint::RateLimited(what, wait) => {
            let (burst, per_second) = match what {
                RateLimited::Messages | RateLimited::Changes => (limits.message_burst, limits.messages_per_second),
                RateLimited::Reads => (limits.read_burst, limits.reads_per_second),
                RateLimited::Signals => (SIGNALS_PER_SECOND, SIGNALS_PER_SECOND),
            };
            rate_limit(headers, what.name(), burst, per_second, wait);
        }
        Hint::DemoLimited(wait) => rate_limit(headers, "demo", DEMO_BURST, DEMO_PER_SECOND, wait),
        Hint::Challenge(TokenRefusal::Missing) => insert(headers, WWW_AUTHENTICATE, "Bearer realm=\"chatsphere\""),
        Hint::Challenge(refusal) => {
            let challenge =
                format!("Bearer realm=\"chatsphere\", error=\"invalid_token\", error_description=\"{}\"", refusal.code());
            insert(headers, WWW_AUTHENTICATE, &challenge);
        }
    }
}

/// draft-ietf-httpapi-ratelimit-headers-10: a quota of `q` in a window of `w` seconds; `r` remain for `t` seconds.
fn rate_limit(headers: &mut HeaderMap, name: &str, burst: u32, per_second: u32, wait: Duration) {
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
    let window = burst.div_ceil(per_second.max(1)).max(1);
    insert(headers, RATELIMIT_POLICY, &format!("\"{name}\";q={burst};w={window}"));
    insert(headers, RATELIMIT, &format!("\"{name}\";r=0;t={}", seconds(wait)));
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whole seconds, rounded up, at least one: `Retry-After: 0` would cause a busy loop.
fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

/// The label of a method. Unknown methods share one, so that clients cannot create time series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_that_hang_or_panic_are_answered() {
        // A read can be repeated; for a write it is unknown whether it took effect.
        for (method, code) in [(Method::GET, "timeout"), (Method::POST, "outcome_unknown"), (Method::PATCH, "outcome_unknown")]
        {
            let hangs = guard(std::future::pending(), Duration::from_millis(10), Failure::timeout(&method)).await;
            assert_eq!(hangs.status(), StatusCode::SERVICE_UNAVAILABLE);
            let parts = hangs.extensions().get::<Failure>().unwrap().parts();
            assert_eq!((parts.code, parts.hint), (code, Hint::RetryAfter(Duration::from_secs(1))));
        }
        let panics = guard(async { panic!("on purpose") }, HANDLING_TIMEOUT, Failure::timeout(&Method::GET)).await;
        assert_eq!(panics.extensions().get::<Failure>(), Some(&Failure::from(Error::Internal)));
    }

    #[test]
    fn a_path_in_the_log_is_short_and_harmless() {
        assert_eq!(for_the_log("/a/b.php"), "/a/b.php");
        assert_eq!(for_the_log("/"), "/");
        assert_eq!(for_the_log("/\u{1b}[2J/\n/\"é"), "/\\u{1b}[2J/\\n/\\\"\\u{e9}");
        let token = format!("/api/{}", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.secret");
        assert_eq!(for_the_log(&token), "/api/eyJhbGciOiJIUzI1NiIsInR5cCI6IkpX…");
        assert!(for_the_log(&"/é".repeat(1_000)).len() <= LONGEST_PATH + 3);
    }

    #[test]
    fn waits_are_rounded_up() {
        for (millis, expected) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn every_status_of_the_router_has_a_code() {
        for status in (400..600).filter_map(|status| StatusCode::from_u16(status).ok()) {
            assert!(!Failure::of_status(status).parts().code.is_empty());
        }
    }
}
