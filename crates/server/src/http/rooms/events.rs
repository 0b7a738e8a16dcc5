use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chatsphere_core::ops;
use chatsphere_protocol::frames::EventFrame;

use crate::http::failure::Failure;
use crate::http::json_list;
use crate::http::link::Links;
use crate::http::query::{EventsParams, Query};
use crate::http::reading::Reading;
use crate::http::state::HttpState;

/// Read a room's events
///
/// All durable events after `after`, ascending by `seq` and without a gap, each in the shape of its WebSocket frame. In the
/// header `Link`, `next` is newer.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/events", operation_id = "listRoomEvents", tag = "messages",
    security(("bearer" = [])),
    params(("roomId" = String, Path, format = "uuid", description = "The room"), EventsParams),
    responses(
        (status = 200, description = "A page of events", body = Vec<EventFrame<'static>>),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`room_not_found`: told only to a CLIENT token and to ADMINs"),
    ))]
pub(super) async fn list(
    State(http): State<Arc<HttpState>>,
    Reading(caller): Reading,
    Path(room): Path<String>,
    query: Query,
) -> Result<Response, Failure> {
    let room = ops::room_id(&caller, &room)?;
    let (after, limit) = query.events()?;
    let page = ops::read_events(&http.chat, &caller, room, after, limit).await?;
    let mut links = Links::default();
    if let Some(last) = page.events.last().filter(|last| last.seq < page.head) {
        links.add(&query, "next", "after", &last.seq.to_string());
    }
    let texts = page.events.iter().map(|event| event.text_len()).sum();
    let body = json_list::encode_page(page, texts, |page| {
        json_list::encode(page.events.iter().map(|event| crate::wire::event(event)))
    });
    Ok((links, json_list::answer(body.await)).into_response())
}
