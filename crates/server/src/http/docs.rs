//! Serves the OpenAPI description, the schema of frames, and Swagger UI, which loads nothing from another host.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

use super::openapi::{frames_json, openapi_json};
use super::page;
use super::state::HttpState;

/// Swagger UI sets styles in elements' attributes.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi_json);
static FRAMES: LazyLock<String> = LazyLock::new(frames_json);

static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from("/api/openapi.json");
    // The default sends the description's address to an external validator.
    Arc::new(config.validator_url("none").deep_linking(true).display_request_duration(true).doc_expansion("list"))
});

/// A file of the page.
#[derive(Clone)]
struct Asset {
    content_type: String,
    bytes: Bytes,
}

/// The requested files of the page, shared by all readers. Only names of existing files are inserted.
static ASSETS: LazyLock<RwLock<HashMap<String, Asset>>> = LazyLock::new(RwLock::default);

/// More than the number of the page's files.
const MAX_ASSETS: usize = 64;

pub(crate) fn routes() -> Router<Arc<HttpState>> {
    Router::new()
        .route("/api/openapi.json", get(async || document(&DOCUMENT)))
        .route("/api/frames.schema.json", get(async || document(&FRAMES)))
        .route("/docs", get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", get(|| async { asset("index.html") }))
        .route("/docs/{*file}", get(|Path(file): Path<String>| async move { asset(&file) }))
}

fn document(text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], text)
}

fn asset(name: &str) -> Response {
    match find(name) {
        Some(asset) => page::secured(POLICY, &asset.content_type, asset.bytes),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn find(name: &str) -> Option<Asset> {
    if let Some(asset) = ASSETS.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return Some(asset.clone());
    }
    let file = utoipa_swagger_ui::serve(name, CONFIG.clone()).ok()??;
    let asset = Asset { content_type: file.content_type, bytes: file.bytes.into_owned().into() };
    let mut assets = ASSETS.write().unwrap_or_else(PoisonError::into_inner);
    if assets.len() < MAX_ASSETS {
        assets.insert(name.to_owned(), asset.clone());
    }
    Some(asset)
}
