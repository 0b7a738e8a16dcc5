//! Lists as answers.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Serialize, Serializer};

/// What an item is expected to take, in bytes: a message of some lines. Memory for a page is taken once, not doubled and
/// copied until it fits.
const EXPECTED: usize = 640;
/// What is encoded within some hundred microseconds at most, in bytes of texts.
const SHORT: usize = 32 * 1024;

/// A page of a list, as a JSON array.
pub(super) struct JsonList<T>(pub(super) Vec<T>);

impl<T: Serialize> IntoResponse for JsonList<T> {
    fn into_response(self) -> Response {
        answer(encode(self.0.iter()))
    }
}

/// A list as JSON. Empty only if its type can't be written as such, which would be a fault of ours.
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

/// Encodes a page whose texts take so many bytes. A large one is not encoded on a thread that others' calls and sockets wait
/// for.
pub(super) async fn encode_page<P: Send + 'static>(
    page: P,
    texts: usize,
    encode: impl FnOnce(&P) -> Bytes + Send + 'static,
) -> Bytes {
    if texts <= SHORT {
        return encode(&page);
    }
    // Nothing is answered for a page that panicked.
    tokio::task::spawn_blocking(move || encode(&page)).await.unwrap_or_default()
}

/// An encoded list as an answer.
pub(super) fn answer(body: Bytes) -> Response {
    if body.is_empty() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(body)).into_response()
}

/// Messages across rooms as an answer.
pub(super) async fn answer_in_rooms(items: Vec<chatsphere_core::MessageInRoom>) -> Response {
    let texts = items.iter().map(|item| item.message.content.as_str().len()).sum();
    let encode_all = |items: &Vec<chatsphere_core::MessageInRoom>| encode(items.iter().map(crate::wire::message_in_room));
    answer(encode_page(items, texts, encode_all).await)
}
