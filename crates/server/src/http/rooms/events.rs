use chatsphere_protocol::frames::EventFrame;

use crate::http::prelude::*;

/// Read a room's events
///
/// All durable events after `after`, ascending by `seq` and without a gap, each in the format of its WebSocket frame. In the
/// header `Link`, `next` is newer.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/events", operation_id = "listRoomEvents", tag = "messages",
    security(("bearer" = [])),
    params(InRoom, EventsParams),
    responses(
        (status = 200, description = "A page of events", body = Vec<EventFrame<'static>>),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, path: room }: ReadInTurn<RoomId>,
    query: Query,
) -> Result<Response, Failure> {
    let (after, limit) = query.events()?;
    let page = ops::read_events(&http.chat, &caller, room, after, limit).await?;
    let mut links = Links::default();
    if let Some(last) = page.events.last().filter(|last| last.seq < page.head) {
        links.add(&query, "next", "after", &last.seq.to_string());
    }
    let head = page.head;
    let texts = page.events.iter().map(|event| event.text_len()).sum();
    let body =
        json_list::encode_page(page, texts, |page| json_list::encode(page.events.iter().map(|event| wire::event(event))));
    Ok((RoomSeq(head), links, json_list::answer(body.await)).into_response())
}
