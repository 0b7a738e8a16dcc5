use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chatsphere_core::policy;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::state::HttpState;
use crate::listener::Peer;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Metrics
///
/// In Prometheus' text format.
///
/// Who: a program on the same machine without any token; from elsewhere a CLIENT token or an ADMIN's.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "health", security((), ("bearer" = [])),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 403, description = "`client_token_required`"),
    ))]
async fn metrics(
    State(http): State<Arc<HttpState>>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Result<Response, Failure> {
    if !peer.is_some_and(|peer| peer.direct_loopback) {
        let (mut parts, _) = request.into_parts();
        let Authenticated(caller) = Authenticated::from_request_parts(&mut parts, &http).await?;
        policy::is_privileged(&caller).map_err(chatsphere_core::Error::from)?;
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (http.metrics)()).into_response())
}
