//! CORS: which origins may call, and which headers their pages may read (Fetch Standard, section 3.3).

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, LINK, ORIGIN, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderName, Method, Request, Response};
use futures_util::FutureExt;
use tower::{Layer, Service, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::envelope::{RATELIMIT, RATELIMIT_POLICY};
use super::idempotency::{IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED};
use super::room_seq::ROOM_SEQ;
use crate::request::{AllowedOrigins, X_REQUEST_ID};

/// Browsers cache a preflight for at most two hours.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// Sent by `XMLHttpRequest` wrappers such as jQuery and Axios, and by clients of the Node.js version.
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Lets pages of the allowed origins call and read the headers of answers. The origin is reflected and credentials are allowed,
/// because pages for the Node.js version send them. The server reads no cookie.
fn layer(origins: &AllowedOrigins) -> CorsLayer {
    let allowed = match origins {
        AllowedOrigins::Any => AllowOrigin::mirror_request(),
        // `*` is not an origin, and the layer would panic on it.
        AllowedOrigins::List(list) => AllowOrigin::list(list.iter().filter(|origin| *origin != "*").cloned()),
    };
    let allowed_headers: [HeaderName; 5] = [AUTHORIZATION, CONTENT_TYPE, IDEMPOTENCY_KEY, X_REQUEST_ID, X_REQUESTED_WITH];
    let exposed: [HeaderName; 7] =
        [LINK, RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY, IDEMPOTENCY_REPLAYED, ROOM_SEQ, X_REQUEST_ID];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(allowed_headers)
        .expose_headers(exposed)
        .max_age(PREFLIGHT_KEPT)
}

/// The CORS headers of answers.
pub(crate) struct Cors {
    layer: CorsLayer,
    /// The headers for a request without an origin.
    plain: HeaderMap,
}

impl Cors {
    pub(crate) fn new(origins: &AllowedOrigins) -> Self {
        let layer = layer(origins);
        Self { plain: ask(&layer, &Method::GET, &HeaderMap::new()), layer }
    }

    /// The headers for the answer to a request; `None` if they are those of a request without an origin.
    pub(crate) fn asked(&self, method: &Method, request: &HeaderMap) -> Option<HeaderMap> {
        if *method == Method::OPTIONS && !is_preflight(method, request) {
            return Some(HeaderMap::new());
        }
        request.contains_key(ORIGIN).then(|| ask(&self.layer, method, request))
    }

    /// Adds the result of [`Self::asked`] to an answer.
    pub(crate) fn add(&self, asked: Option<&HeaderMap>, answer: &mut HeaderMap) {
        for (name, value) in asked.unwrap_or(&self.plain) {
            answer.append(name, value.clone());
        }
    }
}

/// Whether the request is a preflight. The library treats every OPTIONS request as one.
pub(crate) fn is_preflight(method: &Method, request: &HeaderMap) -> bool {
    *method == Method::OPTIONS && request.contains_key(ORIGIN) && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets the library answer in place of a call, and returns the headers.
fn ask(layer: &CorsLayer, method: &Method, fields: &HeaderMap) -> HeaderMap {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    for name in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_REQUEST_HEADERS] {
        for value in fields.get_all(&name) {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    let mut answering = layer.layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(())))));
    match answering.call(request).now_or_never() {
        Some(Ok(answer)) => answer.into_parts().0.headers,
        None | Some(Err(_)) => HeaderMap::new(),
    }
}
