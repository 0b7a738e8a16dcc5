use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chatsphere_core::policy;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::state::HttpState;
use crate::auth::Secret;
use crate::request::bearer;

/// Additional access to the metrics, besides privileged callers.
#[derive(Debug, Clone, Default)]
pub struct MetricsAccess {
    /// Everyone may read them.
    pub public: bool,
    /// Callers with this bearer token may read them, such as a scraper without other rights.
    pub token: Option<Secret>,
}

impl MetricsAccess {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.public || self.token.as_ref().is_some_and(|token| bearer(headers).is_ok_and(|given| token.is(given)))
    }
}

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Read the metrics
///
/// In Prometheus' text format.
///
/// Who: a CLIENT token, an ADMIN's, or the server's own `metrics_token`; anyone if `metrics_public` is set. Permission: `read`.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "health", security(("bearer" = [])),
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        (status = 403, description = "`client_token_required`, `needs_read`"),
    ))]
async fn metrics(State(http): State<Arc<HttpState>>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    if !http.metrics_access.admits(&parts.headers) {
        let Authenticated(caller) = Authenticated::from_request_parts(&mut parts, &http).await?;
        policy::may_read(&caller).map_err(chatsphere_core::Error::from)?;
        policy::require_privileged(&caller).map_err(chatsphere_core::Error::from)?;
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (http.metrics)()).into_response())
}
