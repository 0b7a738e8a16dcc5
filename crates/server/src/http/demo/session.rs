use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chatsphere_core::store::PageRequest;
use chatsphere_core::{AppContext, Caller, Error, Room, Timestamp, TokenId, UserId, ops};
use chatsphere_protocol::rest::{Profile, RoomRef};
use serde::{Deserialize, Serialize};

use super::local::Local;
use crate::http::body::OpenBody;
use crate::http::failure::Failure;
use crate::http::state::HttpState;

/// The room of guests who name none.
const LOBBY: &str = "lobby";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenSession {
    invite: String,
    username: String,
    #[serde(default)]
    room_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    token: String,
    token_id: TokenId,
    expires_at: Timestamp,
    user: Profile<'static>,
    room: RoomRef<'static>,
}

/// Admits the holder of an invitation: creates a user, and adds it to the room.
pub(super) async fn open(
    State(http): State<Arc<HttpState>>,
    Local(peer): Local,
    body: OpenBody<OpenSession>,
) -> Result<Response, Failure> {
    let OpenSession { invite, username, room_name } = body.value;
    let refused = || Failure::forbidden("invite_invalid", "this invitation is not good, or not any more: ask for a new one");
    let demo = http.demo.as_ref().ok_or_else(refused)?;
    demo.count(peer, http.chat.clock.monotonic())?;
    let taken = demo.invites.take(&invite).ok_or_else(refused)?;

    let mut host = demo.host.lock().await;
    let operator = Caller::operator(demo.operator.clone(), http.chat.clock.now());
    let owner = host.get(&http.chat, &operator).await?;
    let room = room(&http.chat, &operator, owner, room_name.unwrap_or_else(|| LOBBY.to_owned())).await?;
    let user = ops::CreateUser { username, role: None, idempotency: None };
    let made = ops::create_user(&http.chat, &operator, user).await?.value;
    let user_id: UserId = made.user.id;
    let add = ops::AddMember { room_id: room.id, user_id, idempotency: None };
    ops::add_member(&http.chat, &operator, add).await?;
    taken.used();
    demo.guests().insert(user_id);

    let session = Session {
        token: http.keys.sign(&made.token, &made.user)?,
        token_id: made.token.id,
        expires_at: made.token.expires_at,
        user: crate::wire::profile(&made.user),
        room: RoomRef {
            id: room.id,
            name: room.name.as_str().to_owned().into(),
            created_at: room.created_at,
            updated_at: room.updated_at,
        },
    };
    Ok((StatusCode::CREATED, Json(session)).into_response())
}

/// Returns the demo's oldest room of this name, or creates one. Other rooms of the same name, even the operator's, stay closed
/// to guests.
async fn room(chat: &AppContext, operator: &Caller, owner: UserId, name: String) -> Result<Room, Error> {
    let mut cursor = None;
    loop {
        let page = ops::list_rooms(chat, operator, PageRequest { cursor, limit: chat.limits.page_max }).await?;
        let mut rooms = page.items.into_iter();
        if let Some(room) = rooms.find(|room| room.owner == owner && room.name.as_str() == name) {
            return Ok(room);
        }
        cursor = page.next;
        if cursor.is_none() {
            let room = ops::CreateRoom { name, owner: Some(owner), idempotency: None };
            return Ok(ops::create_room(chat, operator, room).await?.value);
        }
    }
}
