//! OPTIONS, where it is no page's preflight (RFC 9110, section 9.3.7).

use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use chatsphere_core::Error;

use super::failure::Failure;
use super::health;
use super::state::HttpState;

/// The routes that load balancers ask whether this node wants work. HAProxy asks `OPTIONS /` if it is not told otherwise.
const PROBED: [&str; 2] = ["/readyz", "/"];

/// Makes a success of a route's refusal, which names the methods that the route takes, and that is what OPTIONS asks for. A
/// route that is asked for readiness answers by that.
pub(super) async fn answer(http: &HttpState, route: &str, refusal: Response) -> Response {
    if refusal.status() != StatusCode::METHOD_NOT_ALLOWED {
        return refusal;
    }
    if PROBED.contains(&route)
        && let Some(outage) = health::outage(http).await
    {
        return Failure::from(Error::Unavailable(outage)).into_response();
    }
    let mut answer = StatusCode::NO_CONTENT.into_response();
    // That of most routes is added by the router, on the way out.
    if let Some(methods) = refusal.headers().get(ALLOW) {
        answer.headers_mut().insert(ALLOW, methods.clone());
    }
    answer
}
