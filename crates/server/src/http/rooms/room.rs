use chatsphere_protocol::rest::RoomWithUsers;

use crate::http::prelude::*;

/// Read a room
///
/// With its first 100 members, in the order in which they joined. `GET /api/rooms/{roomId}/users` lists all members.
///
/// Who: members, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/rooms/{roomId}", operation_id = "getRoom", tag = "rooms", security(("bearer" = [])),
    params(InRoom),
    responses(
        (status = 200, description = "The room", body = RoomWithUsers),
        (status = 403, description = "`not_a_member`, `needs_read`"),
        (status = 404, description = "`room_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn read(
    State(http): Http,
    ReadInTurn { caller, path: room }: ReadInTurn<RoomId>,
) -> Result<impl IntoResponse, Failure> {
    let (room, members) = ops::read_room(&http.chat, &caller, room).await?;
    let users = members.page.items.iter().map(|user| wire::user_ref(user).into_owned()).collect();
    Ok((RoomSeq(members.head), Json(RoomWithUsers { room: wire::room(room), users })))
}
