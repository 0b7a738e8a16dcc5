use chatsphere_core::SignalKind;
use chatsphere_core::signal::{SignalData, SignalName};
use chatsphere_protocol::rest::{Done, SendSignal};

use crate::http::prelude::*;

/// Send a signal of the application
///
/// The connections that have joined the room get a frame `signal`, which is not stored. Some of them may miss it.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms/{roomId}/signals", operation_id = "postSignal", tag = "messages",
    security(("bearer" = [])),
    params(InRoom),
    request_body = SendSignal,
    responses(
        (status = 200, description = "Accepted", body = Done),
        (status = 403, description = "`not_a_member`, `needs_write`, `not_yourself`"),
        (status = 404, description = "`user_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 429, description = "`rate_limited`"),
    ))]
pub(super) async fn post(
    State(http): Http,
    query: Query,
    JsonBody { caller, path: room_id, value, .. }: JsonBody<SendSignal, RoomId>,
) -> Result<impl IntoResponse, Failure> {
    query.takes(&[])?;
    let (name, data) = (SignalName::parse(value.name)?, SignalData::parse(value.data.get())?);
    let kind = SignalKind::Custom { room_id, name, data };
    let signal = ops::SendSignal { kind, user: None, from: None };
    let head = ops::signal(&http.chat, &caller, signal).await?;
    Ok((RoomSeq(head), Json(Done { message: "Signal accepted".into() })))
}
