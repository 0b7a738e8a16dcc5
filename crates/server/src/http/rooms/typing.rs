use chatsphere_core::SignalKind;
use chatsphere_protocol::rest::{Done, Typing};

use crate::http::prelude::*;

/// Signal that a user is typing
///
/// The room's other connections get a frame `typing`, which is not stored. It expires after 6 s, and ends with `on: false` or
/// with the user's next message. A signal that is repeated within 2.5 s is not sent again.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms/{roomId}/typing", operation_id = "postTyping", tag = "messages",
    security(("bearer" = [])),
    params(InRoom),
    request_body = Typing,
    responses(
        (status = 200, description = "Accepted", body = Done),
        (status = 403, description = "`not_a_member`, `needs_write`"),
        (status = 404, description = "`parent_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 429, description = "`rate_limited`"),
    ))]
pub(super) async fn post(
    State(http): Http,
    query: Query,
    JsonBody { caller, path: room_id, value, .. }: JsonBody<Typing, RoomId>,
) -> Result<impl IntoResponse, Failure> {
    query.takes(&[])?;
    let parent_id = value.parent_id.as_deref().map(ops::parent_id).transpose()?;
    let kind = SignalKind::Typing { room_id, parent_id, on: value.on.unwrap_or(true) };
    let signal = ops::SendSignal { kind, user: None, from: None };
    let head = ops::signal(&http.chat, &caller, signal).await?;
    Ok((RoomSeq(head), Json(Done { message: "Typing accepted".into() })))
}
