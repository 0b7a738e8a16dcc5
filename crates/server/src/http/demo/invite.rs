use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::local::Local;
use crate::http::authenticated::Authenticated;
use crate::http::failure::Failure;
use crate::http::state::HttpState;

#[derive(Serialize)]
struct Invitation {
    invite: String,
}

/// Creates an invitation for another window. The caller must be a guest who was admitted by an invitation.
pub(super) async fn make(
    State(http): State<Arc<HttpState>>,
    Local(peer): Local,
    Authenticated(caller): Authenticated,
) -> Result<Response, Failure> {
    let demo = http.demo.as_ref();
    if let Some(demo) = demo {
        demo.count(peer, http.chat.clock.monotonic())?;
    }
    let demo = demo.filter(|demo| demo.guests().contains(&caller.user.id));
    let Some(demo) = demo else {
        return Err(Failure::forbidden(
            "invite_invalid",
            "only those may invite whom an invitation let in since the server started",
        ));
    };
    Ok((StatusCode::CREATED, Json(Invitation { invite: demo.invites.issue() })).into_response())
}
