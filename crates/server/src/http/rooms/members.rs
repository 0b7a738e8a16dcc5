use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chatsphere_core::ops;
use chatsphere_protocol::rest::{AddUser, Done, UserRef};

use crate::auth::List;
use crate::http::authenticated::Authenticated;
use crate::http::body::JsonBody;
use crate::http::failure::Failure;
use crate::http::idempotency::Replayed;
use crate::http::json_list::JsonList;
use crate::http::link::Links;
use crate::http::query::{PageParams, Query};
use crate::http::reading::Reading;
use crate::http::state::HttpState;

/// List a room's members
///
/// In the order they joined.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}/users", operation_id = "listMembers", tag = "members",
    security(("bearer" = [])),
    params(("roomId" = String, Path, format = "uuid", description = "The room"), PageParams),
    responses(
        (status = 200, description = "A page of members", body = Vec<UserRef<'static>>),
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
    let cursors = http.keys.cursors(&caller, List::Members(room));
    let page = ops::list_members(&http.chat, &caller, room, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, JsonList(page.items.iter().map(crate::wire::user_ref).collect::<Vec<_>>())).into_response())
}

/// Add a member
///
/// The same answer again if the user is in already.
///
/// Who: the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms/{roomId}/users", operation_id = "addMember", tag = "members",
    security(("bearer" = [])),
    params(("roomId" = String, Path, format = "uuid", description = "The room")),
    request_body = AddUser,
    responses(
        (status = 200, description = "The user is a member", body = Done),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `needs_write`"),
        (status = 404, description = "`user_not_found`; `room_not_found`: told only to a CLIENT token and to ADMINs"),
        (status = 409, description = "`idempotency_key_reused`"),
    ))]
pub(super) async fn add(
    State(http): State<Arc<HttpState>>,
    Path(room): Path<String>,
    body: JsonBody<AddUser>,
) -> Result<Response, Failure> {
    let room_id = ops::room_id(&body.caller, &room)?;
    let user_id = ops::user_id(&body.value.user_id)?;
    let idempotency = body.idempotency;
    let done = ops::add_member(&http.chat, &body.caller, ops::AddMember { room_id, user_id, idempotency }).await?;
    let answer = Done { message: "User added to room successfully".into() };
    Ok((Replayed(done.replayed), Json(answer)).into_response())
}

/// Remove a member, or leave
///
/// The same answer again if the user is out already. A moderator cannot remove the owner.
///
/// Who: that user, the room's owner, a MODERATOR among its members, a CLIENT token, or an ADMIN's. Permission: `delete`; to
/// leave oneself `write`.
#[utoipa::path(delete, path = "/api/rooms/{roomId}/users/{userId}", operation_id = "removeMember", tag = "members",
    security(("bearer" = [])),
    params(
        ("roomId" = String, Path, format = "uuid", description = "The room"),
        ("userId" = String, Path, format = "uuid", description = "The member"),
    ),
    responses(
        (status = 200, description = "The user is no member", body = Done),
        (status = 403, description = "`not_a_member`, `not_a_moderator`, `owner_stays`, `needs_delete`, `needs_write`"),
        (status = 404, description = "`user_not_found`: the id is no UUID; `room_not_found`: told only to a CLIENT token and to ADMINs"),
    ))]
pub(super) async fn remove(
    State(http): State<Arc<HttpState>>,
    Authenticated(caller): Authenticated,
    Path((room, user)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let room_id = ops::room_id(&caller, &room)?;
    let user_id = ops::user_id(&user)?;
    ops::remove_member(&http.chat, &caller, ops::RemoveMember { room_id, user_id }).await?;
    Ok(Json(Done { message: "User removed from room successfully".into() }).into_response())
}
