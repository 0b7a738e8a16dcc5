use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::response::{IntoResponse, Response};
use chatsphere_core::policy;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::authenticated::Authenticated;
use super::demo::is_local;
use super::failure::Failure;
use super::state::HttpState;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Metrics
///
/// In Prometheus' text format.
///
/// Who: a program on the same machine that calls it by `localhost` or a loopback address, without any token; from elsewhere,
/// and for pages in a browser, a CLIENT token or an ADMIN's. Permission: `read`, where a token is needed.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "health", security((), ("bearer" = [])),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 403, description = "`client_token_required`, `needs_read`"),
    ))]
async fn metrics(State(http): State<Arc<HttpState>>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    // A page in a browser on this machine calls from here as well, and any page may read the answer.
    if !is_local(&parts) || parts.headers.contains_key(ORIGIN) {
        let Authenticated(caller) = Authenticated::from_request_parts(&mut parts, &http).await?;
        policy::may_read(&caller).map_err(chatsphere_core::Error::from)?;
        policy::is_privileged(&caller).map_err(chatsphere_core::Error::from)?;
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (http.metrics)()).into_response())
}
