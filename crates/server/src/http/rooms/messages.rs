use bytes::Bytes;
use chatsphere_core::store::{History, HistoryRange};
use chatsphere_protocol::rest::{Message, PostMessage};

use crate::http::prelude::*;

/// Read a room's messages
///
/// Ascending by `seq` in every case: the newest messages without `before`, `after` and `around`, otherwise those next to that
/// number. `around` takes as many from either side as fit into the page. In the header `Link`, `prev` is older and `next`
/// newer. Events of other kinds do not count towards the page.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/messages", operation_id = "listRoomMessages", tag = "messages",
    security(("bearer" = [])),
    params(InRoom, HistoryParams),
    responses(
        (status = 200, description = "A page of messages", body = Vec<Message<'static>>),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`message_not_found`: the one to read around; `room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn list(
    State(http): Http,
    Read { caller, path: room, under_way }: Read<RoomId>,
    query: Query,
) -> Result<Response, Failure> {
    let (range, limit) = query.history()?;
    let (history, turn) = ops::read_history(&http.chat, &caller, room, range, limit).await?;
    under_way.hold(turn);
    // Most callers who open a room request the same page, which is encoded once.
    let body = match history.already_made() {
        Some(body) => body,
        None => {
            let texts = history.messages.iter().map(|message| message.content.as_str().len()).sum();
            json_list::encode_page(history.clone(), texts, |page| page.made(encode)).await
        }
    };
    Ok((RoomSeq(history.head), links(&query, range, &history), json_list::answer(body)).into_response())
}

fn encode(history: &History) -> Bytes {
    json_list::encode(history.messages.iter().map(wire::message))
}

fn links(query: &Query, range: HistoryRange, history: &History) -> Links {
    // An empty page is at the requested position.
    let asked = match range {
        // A page around a place is empty only in an empty room.
        HistoryRange::Newest | HistoryRange::Around(_) => None,
        HistoryRange::Before(before) => Some((before, before.previous())),
        HistoryRange::After(after) => Some((after.next(), after)),
    };
    let shown = history.messages.first().zip(history.messages.last()).map(|(first, last)| (first.seq, last.seq));
    let mut links = Links::default();
    if let Some((first, last)) = shown.or(asked) {
        if history.has_older {
            links.add(query, "prev", "before", &first.to_string());
        }
        if history.has_newer {
            links.add(query, "next", "after", &last.to_string());
        }
    }
    links
}

/// Post a message
///
/// Answers once the message is on disk. If the same author sends the same `clientMessageId` and content to the same room again,
/// the server stores nothing and answers with the first message.
///
/// `userId` names another author, with the rights and limits of the CLIENT token. It must not come together with `as`.
///
/// Who: members, a CLIENT token, or an ADMIN's; for another `userId`: a CLIENT token. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms/{roomId}/messages", operation_id = "postMessage", tag = "messages",
    security(("bearer" = [])),
    params(InRoom),
    request_body = PostMessage,
    responses(
        (status = 201, description = "Posted", body = Message),
        (status = 403, description = "`not_a_member`, `needs_write`, `not_yourself`"),
        (status = 404, description = "`user_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 409, description = "`client_message_id_reused`, `idempotency_key_reused`"),
        (status = 429, description = "`rate_limited`, `quota_exceeded`"),
    ))]
pub(super) async fn post(
    State(http): Http,
    query: Query,
    JsonBody { caller, path: room_id, value, idempotency }: JsonBody<PostMessage, RoomId>,
) -> Result<Response, Failure> {
    let PostMessage { content, client_message_id, user_id } = value;
    if user_id.is_some() && query.one(AS)?.is_some() {
        return Err(Failure::invalid("userId", "must not come together with the parameter as"));
    }
    let author = user_id.as_deref().map(ops::user_id).transpose()?;
    let post = ops::PostMessage { room_id, content, client_message_id, author, idempotency };
    let done = ops::post_message(&http.chat, &caller, post)?.await?;
    let head = RoomSeq(done.value.change_seq());
    Ok((StatusCode::CREATED, head, Replayed(done.replayed), Json(wire::message(&done.value))).into_response())
}
