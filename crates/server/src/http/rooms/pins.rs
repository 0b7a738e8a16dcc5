use chatsphere_core::store::Pins;
use chatsphere_protocol::rest::Message;

use crate::http::prelude::*;

/// List a room's pinned messages
///
/// In their current state, those that were pinned last first. All of them are one page, unless that exceeds 1 MiB.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/pins", operation_id = "listPins", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        ("cursor" = Option<String>, Query, description = "The position of the page, from the `Link` header of an adjacent page."),
    ),
    responses(
        (status = 200, description = "A page of messages", body = Vec<Message<'static>>),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, path: room }: ReadInTurn<RoomId>,
    query: Query,
) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(&caller, List::Pins(room));
    let Pins { page, head } = ops::list_pins(&http.chat, &caller, room, query.whole_page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    let texts = page.items.iter().map(|message| message.content.as_str().len()).sum();
    let encode = |messages: &Vec<_>| json_list::encode(messages.iter().map(wire::message));
    let body = json_list::encode_page(page.items, texts, encode).await;
    Ok((RoomSeq(head), links, json_list::answer(body)).into_response())
}

/// Pin a message
///
/// Pinning a message that is pinned changes nothing, and succeeds. Members get an event `message_pinned`.
///
/// Who: the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission:
/// `write`.
#[utoipa::path(put, path = "/api/rooms/{roomId}/pins/{messageId}", operation_id = "pinMessage", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
    ),
    responses(
        (status = 200, description = "The message after the call", body = Message),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `needs_write`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 409, description = "`message_deleted`, `too_many_pins`"),
        (status = 429, description = "`rate_limited`, `quota_exceeded`"),
    ))]
pub(super) async fn pin(State(http): Http, call: Call<(RoomId, MessageId)>) -> Result<Response, Failure> {
    change(&http, call, true).await
}

/// Unpin a message
///
/// Unpinning a message that is not pinned changes nothing, and succeeds. Members get an event `message_unpinned`.
///
/// Who: the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission:
/// `write`.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/pins/{messageId}", operation_id = "unpinMessage", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
    ),
    responses(
        (status = 200, description = "The message after the call", body = Message),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `needs_write`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 429, description = "`rate_limited`, `quota_exceeded`"),
    ))]
pub(super) async fn unpin(State(http): Http, call: Call<(RoomId, MessageId)>) -> Result<Response, Failure> {
    change(&http, call, false).await
}

async fn change(http: &HttpState, call: Call<(RoomId, MessageId)>, pinned: bool) -> Result<Response, Failure> {
    let Call { caller, path: (room, message) } = call;
    let changed = ops::pin_message(&http.chat, &caller, room, message, pinned).await?;
    Ok((RoomSeq(changed.seq), Json(wire::message(&changed.message))).into_response())
}
