use chatsphere_protocol::rest::{CreateRoom, Room};

use crate::http::prelude::*;

/// List rooms
///
/// In the order of their creation. A CLIENT token or an ADMIN gets all rooms, other users those that they are members of, all
/// within the token's `permissions.rooms`.
///
/// Who: any token. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms", operation_id = "listRooms", tag = "rooms", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "A page of rooms", body = Vec<Room>),
        (status = 403, description = "`needs_read`"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, .. }: ReadInTurn,
    query: Query,
) -> Result<impl IntoResponse, Failure> {
    let cursors = http.keys.cursors(&caller, List::Rooms);
    let page = ops::list_rooms(&http.chat, &caller, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, JsonList(page.items.into_iter().map(wire::room).collect::<Vec<_>>())))
}

/// Create a room
///
/// The owner becomes the first member.
///
/// Who: any token that is not restricted to certain rooms; for another `userId`: a CLIENT token. Permission: `write`.
#[utoipa::path(post, path = "/api/rooms", operation_id = "createRoom", tag = "rooms", security(("bearer" = [])),
    request_body = CreateRoom,
    responses(
        (status = 201, description = "Created", body = Room),
        (status = 403, description = "`needs_write`, `needs_unrestricted_token`, `not_yourself`"),
        (status = 404, description = "`user_not_found`"),
        (status = 409, description = "`idempotency_key_reused`"),
    ))]
pub(super) async fn create(
    State(http): Http,
    JsonBody { caller, value, idempotency, .. }: JsonBody<CreateRoom>,
) -> Result<impl IntoResponse, Failure> {
    let CreateRoom { name, user_id } = value;
    let owner = user_id.as_deref().map(ops::user_id).transpose()?;
    let done = ops::create_room(&http.chat, &caller, ops::CreateRoom { name, owner, idempotency }).await?;
    Ok((StatusCode::CREATED, Replayed(done.replayed), Json(wire::room(done.value))))
}
