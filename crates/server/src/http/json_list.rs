//! Lists as JSON arrays.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Serialize, Serializer};

/// Expected size of an encoded item in bytes: a message of a few lines. The buffer is allocated once, instead of growing and
/// copying.
const EXPECTED: usize = 640;
/// Texts up to this many bytes are encoded within a few hundred microseconds.
const SHORT: usize = 32 * 1024;

/// A page of a list, as a JSON array.
pub(super) struct JsonList<T>(pub(super) Vec<T>);

impl<T: Serialize> IntoResponse for JsonList<T> {
    fn into_response(self) -> Response {
        answer(encode(self.0.iter()))
    }
}

/// Encodes a list. Empty only if the type cannot be serialised, which would be a bug.
pub(super) fn encode<T: Serialize>(items: impl ExactSizeIterator<Item = T>) -> Bytes {
    let mut body = Vec::with_capacity(2 + items.len() * EXPECTED);
    match serde_json::Serializer::new(&mut body).collect_seq(items) {
        Ok(()) => body.into(),
        Err(error) => {
            tracing::error!(%error, "a list could not be encoded");
            Bytes::new()
        }
    }
}

/// Encodes a page with this many bytes of text. A large page is encoded on a blocking thread, because other calls and sockets
/// wait for this one.
pub(super) async fn encode_page<P: Send + 'static>(
    page: P,
    texts: usize,
    encode: impl FnOnce(&P) -> Bytes + Send + 'static,
) -> Bytes {
    if texts <= SHORT {
        return encode(&page);
    }
    // A page whose encoding panicked has no answer.
    tokio::task::spawn_blocking(move || encode(&page)).await.unwrap_or_default()
}

/// The answer of an encoded list.
pub(super) fn answer(body: Bytes) -> Response {
    if body.is_empty() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body)).into_response()
}

/// The answer of a list of messages across rooms.
pub(super) async fn answer_in_rooms(items: Vec<chatsphere_core::MessageInRoom>) -> Response {
    let texts = items.iter().map(|item| item.message.content.as_str().len()).sum();
    let encode_all = |items: &Vec<chatsphere_core::MessageInRoom>| encode(items.iter().map(crate::wire::message_in_room));
    answer(encode_page(items, texts, encode_all).await)
}
