//! The API's description, and a page to try it at, which loads nothing from another host.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

use super::openapi::openapi_json;
use super::page;
use super::state::HttpState;

/// Swagger UI sets styles in elements' attributes.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_json);

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("/api/openapi.json");
    // Its default sends the description's address to a validator elsewhere.
    Arc::new(config.validator_url("none").deep_linking(true).display_request_duration(true).doc_expansion("list"))
});

pub(crate) fn routes() -> Router<Arc<HttpState>> {
    Router::new()
        .route("/api/openapi.json", get(document))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { asset("index.html") }))
        .route("/docs/{*file}", get(|Path(file): Path<String>| async move { asset(&file) }))
}

async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DOCUMENT.as_str())
}

fn asset(name: &str) -> Response {
    match utoipa_swagger_ui::serve(name, CONFIG.clone()) {
        Ok(Some(file)) => page::secured(POLICY, &file.content_type, file.bytes.into_owned()),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
