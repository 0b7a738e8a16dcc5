use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use chatsphere_core::Seq;

pub(super) const ROOM_SEQ: HeaderName = HeaderName::from_static("room-seq");

/// The header `Room-Seq`: the answer's data about the room is at least as new as this event. It is not a cursor.
pub(crate) struct RoomSeq(pub(crate) Seq);

impl IntoResponseParts for RoomSeq {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.headers_mut().insert(ROOM_SEQ, HeaderValue::from(self.0.get()));
        Ok(parts)
    }
}
