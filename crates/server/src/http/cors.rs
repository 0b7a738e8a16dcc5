use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, LINK, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::envelope::{RATELIMIT, RATELIMIT_POLICY};
use super::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use super::request_id::X_REQUEST_ID;
use super::state::AllowedOrigins;

/// Browsers keep a preflight's answer no longer than two hours.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// Sent by `XMLHttpRequest` wrappers such as jQuery and Axios, and by clients of the first version.
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Lets pages of the allowed origins call and read what the answers' headers say. The origin is reflected and credentials are
/// allowed, because pages of the first version call with them; nothing hangs on it, since no cookie is ever read.
pub(crate) fn layer(origins: &AllowedOrigins) -> CorsLayer {
    let allowed = match origins {
        AllowedOrigins::Any => AllowOrigin::mirror_request(),
        // `*` is no origin, and the layer would panic at it.
        AllowedOrigins::List(list) => AllowOrigin::list(list.iter().filter(|origin| *origin != "*").cloned()),
    };
    let allowed_headers: [HeaderName; 5] = [AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, X_REQUEST_ID, X_REQUESTED_WITH];
    let exposed: [HeaderName; 6] = [LINK, RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY, IDEMPOTENCY_REPLAYED, X_REQUEST_ID];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(allowed_headers)
        .expose_headers(exposed)
        .max_age(PREFLIGHT_KEPT)
}
