use chatsphere_core::store::Versions;
use chatsphere_protocol::rest::{DeletedMessage, EditMessage, Message, MessageVersion};

use crate::http::prelude::*;

/// Read a message
///
/// In its current state.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/messages/{messageId}", operation_id = "readMessage", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
    ),
    responses(
        (status = 200, description = "The message", body = Message),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn read(
    State(http): Http,
    ReadInTurn { caller, path: (room, message) }: ReadInTurn<(RoomId, MessageId)>,
    query: Query,
) -> Result<Response, Failure> {
    query.takes(&[])?;
    let read = ops::read_message(&http.chat, &caller, room, message).await?;
    Ok((RoomSeq(read.head), Json(wire::message(&read.message))).into_response())
}

/// Edit a message
///
/// An edit with the current content changes nothing, and succeeds. Members get an event `message_edited`.
///
/// Who: its author, as a member or an ADMIN, or a CLIENT token. Permission: `write`.
#[utoipa::path(patch, path = "/api/rooms/{roomId}/messages/{messageId}", operation_id = "editMessage", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
    ),
    request_body = EditMessage,
    responses(
        (status = 200, description = "The message after the call", body = Message),
        (status = 403, description = "`not_a_member`, `not_the_author`, `needs_write`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 409, description = "`version_conflict`, `message_deleted`"),
        (status = 429, description = "`rate_limited`, `quota_exceeded`"),
    ))]
pub(super) async fn edit(
    State(http): Http,
    ChangeBody(JsonBody { caller, path: (room_id, message_id), value, .. }): ChangeBody<EditMessage, (RoomId, MessageId)>,
) -> Result<Response, Failure> {
    let edit =
        ops::EditMessage { room_id, message_id, content: value.content.unwrap_or_default(), if_version: value.if_version };
    let changed = ops::edit_message(&http.chat, &caller, edit)?.await?;
    Ok((RoomSeq(changed.seq), Json(wire::message(&changed.message))).into_response())
}

/// Delete a message
///
/// It keeps its place, its author and its times. Its `content` is empty, and no earlier version or retry shows it any more.
/// Deleting it again changes nothing, and succeeds. Members get an event `message_deleted`.
///
/// With `hard=true` only its number is left: it is in no page and no list, and other calls answer `message_not_found`. In the
/// room's events `message_removed` takes the place of `new_message`. A deleted message can still be deleted in this way.
///
/// Who: its author, the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's; with `hard=true` only a
/// CLIENT token, or an ADMIN's. Permission: `delete`.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/messages/{messageId}", operation_id = "deleteMessage", tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
        ("hard" = Option<bool>, Query, description = "Whether to delete it for good."),
    ),
    responses(
        (status = 200, description = "What is left of the message", body = DeletedMessage),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `client_token_required`, `needs_delete`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 429, description = "`rate_limited`"),
    ))]
pub(super) async fn delete(
    State(http): Http,
    QueryCall { caller, path: (room, message), query }: QueryCall<(RoomId, MessageId)>,
) -> Result<Response, Failure> {
    let changed = ops::delete_message(&http.chat, &caller, room, message, query.hard()?)?.await?;
    Ok((RoomSeq(changed.seq), Json(wire::deleted_message(&changed.message))).into_response())
}

/// List a message's versions
///
/// Newest first: the current version, then the earlier ones. `content` is absent if it was erased.
///
/// Who: its author, the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/messages/{messageId}/versions", operation_id = "listMessageVersions",
    tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of versions", body = Vec<MessageVersion<'static>>),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `needs_read`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn versions(
    State(http): Http,
    ReadInTurn { caller, path: (room, message) }: ReadInTurn<(RoomId, MessageId)>,
    query: Query,
) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(&caller, List::Versions(message));
    let Versions { page, head, .. } = ops::message_versions(&http.chat, &caller, room, message, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    let versions: Vec<_> = page.items.iter().map(wire::message_version).collect();
    Ok((RoomSeq(head), links, JsonList(versions)).into_response())
}

/// Erase a message's earlier versions
///
/// Erases their contents. Their numbers, authors and times stay. After that a retry with the message's `clientMessageId` is
/// answered with the current message, whatever its content.
///
/// Who: its author, as a member or an ADMIN, or a CLIENT token. Permission: `delete`.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/messages/{messageId}/versions", operation_id = "forgetMessageVersions",
    tag = "messages",
    security(("bearer" = [])),
    params(
        InRoom,
        OfMessage,
    ),
    responses(
        (status = 200, description = "The message after the call", body = Message),
        (status = 403, description = "`not_a_member`, `not_the_author`, `needs_delete`"),
        (status = 404, description = "`message_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 429, description = "`rate_limited`"),
    ))]
pub(super) async fn forget_versions(
    State(http): Http,
    Call { caller, path: (room, message) }: Call<(RoomId, MessageId)>,
) -> Result<Response, Failure> {
    let changed = ops::forget_versions(&http.chat, &caller, room, message).await?;
    Ok((RoomSeq(changed.seq), Json(wire::message(&changed.message))).into_response())
}
