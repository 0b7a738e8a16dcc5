//! Answers OPTIONS requests that are not preflights (RFC 9110, section 9.3.7).

use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use chatsphere_core::Error;

use super::failure::Failure;
use super::health;
use super::state::HttpState;

/// Routes that load balancers probe for readiness. HAProxy sends `OPTIONS /` by default.
const PROBED: [&str; 2] = ["/readyz", "/"];

/// Turns a route's 405, which lists the allowed methods, into the success that OPTIONS asks for. A probed route answers with
/// its readiness.
pub(super) async fn answer(http: &HttpState, route: &str, response: Response) -> Response {
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        return response;
    }
    if PROBED.contains(&route)
        && let Some(unavailable) = health::unavailable(http).await
    {
        return Failure::from(Error::Unavailable(unavailable)).into_response();
    }
    let mut answer = StatusCode::NO_CONTENT.into_response();
    // The router adds `Allow` for most routes later.
    if let Some(methods) = response.headers().get(ALLOW) {
        answer.headers_mut().insert(ALLOW, methods.clone());
    }
    answer
}
