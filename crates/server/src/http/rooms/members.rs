use chatsphere_core::store::Members;
use chatsphere_protocol::rest::{AddUser, Done, UserRef};

use crate::http::prelude::*;

/// List a room's members
///
/// In the order in which they joined.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/users", operation_id = "listMembers", tag = "members",
    security(("bearer" = [])),
    params(InRoom, PageParams),
    responses(
        (status = 200, description = "A page of members", body = Vec<UserRef<'static>>),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, path: room }: ReadInTurn<RoomId>,
    query: Query,
) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(&caller, List::Members(room));
    let Members { page, head } = ops::list_members(&http.chat, &caller, room, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((RoomSeq(head), links, JsonList(page.items.iter().map(wire::user_ref).collect::<Vec<_>>())).into_response())
}

/// Add a member
///
/// Adding a member again changes nothing, and succeeds.
///
/// Who: the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms/{roomId}/users", operation_id = "addMember", tag = "members",
    security(("bearer" = [])),
    params(InRoom),
    request_body = AddUser,
    responses(
        (status = 200, description = "The user is a member", body = Done),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `needs_write`"),
        (status = 404, description = "`user_not_found`; `room_not_found`: only for CLIENT tokens and ADMINs"),
        (status = 409, description = "`idempotency_key_reused`"),
    ))]
pub(super) async fn add(
    State(http): Http,
    JsonBody { caller, path: room_id, value, idempotency }: JsonBody<AddUser, RoomId>,
) -> Result<Response, Failure> {
    let user_id = ops::user_id(&value.user_id)?;
    let done = ops::add_member(&http.chat, &caller, ops::AddMember { room_id, user_id, idempotency }).await?;
    let answer = Done { message: "User added to room successfully".into() };
    Ok((RoomSeq(done.value.seq()), Replayed(done.replayed), Json(answer)).into_response())
}

/// Remove a member, or leave
///
/// Removing a user who is not a member changes nothing, and succeeds. A moderator can't remove the owner.
///
/// Who: that user, the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission: `delete`; to
/// leave, `write`.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/users/{userId}", operation_id = "removeMember", tag = "members",
    security(("bearer" = [])),
    params(
        InRoom,
        ("userId" = String, Path, format = "uuid", description = "The member"),
    ),
    responses(
        (status = 200, description = "The user is not a member", body = Done),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `owner_stays`, `needs_delete`, `needs_write`"),
        (status = 404, description = "`user_not_found`: the id is not a UUID; `room_not_found`: only for CLIENT tokens and \
         ADMINs"),
    ))]
pub(super) async fn remove(
    State(http): Http,
    Call { caller, path: (room_id, user_id) }: Call<(RoomId, UserId)>,
) -> Result<Response, Failure> {
    let changed = ops::remove_member(&http.chat, &caller, ops::RemoveMember { room_id, user_id }).await?;
    Ok((RoomSeq(changed.seq()), Json(Done { message: "User removed from room successfully".into() })).into_response())
}
