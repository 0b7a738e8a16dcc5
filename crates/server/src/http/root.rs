use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::state::HttpState;

/// The text shown at the server's address in a browser or by curl.
const WELCOME: &str = "This is a ChatSphere server.\n\n\
    REST calls       /api, described at /docs and /api/openapi.json\n\
    WebSocket        /ws (or /, as in the first version), described at /api/frames.schema.json\n\
    health           /api/health, /livez, /readyz\n";

pub(crate) fn routes() -> Router<Arc<HttpState>> {
    Router::new().route("/", get(welcome)).route("/api", get(|| async { Redirect::temporary("/docs/") })).route(
        "/favicon.ico",
        // Browsers request it automatically; a 404 in the log would only worry operators.
        get(|| async { StatusCode::NO_CONTENT }),
    )
}

async fn welcome() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], WELCOME)
}
