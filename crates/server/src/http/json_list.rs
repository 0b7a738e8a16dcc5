//! Lists as answers.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What an item is expected to take, in bytes: a message of some lines. Memory for a page is taken once, not doubled and
/// copied until it fits.
const EXPECTED: usize = 640;

/// A page of a list, as a JSON array.
pub(super) struct JsonList<T>(pub(super) Vec<T>);

impl<T: Serialize> IntoResponse for JsonList<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(2 + self.0.len() * EXPECTED);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body)).into_response(),
            Err(error) => {
                tracing::error!(%error, "a list could not be encoded");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
