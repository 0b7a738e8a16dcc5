use chatsphere_protocol::Open;
use chatsphere_protocol::rest::{ChangeProfile, Profile, ProfileChanged};

use super::prelude::*;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(read, change))
}

/// Read the caller's user
///
/// Who: any token. Permission: none.
#[utoipa::path(get, path = "/api/auth/profile", operation_id = "getProfile", tag = "profile", security(("bearer" = [])),
    responses((status = 200, description = "The token's user", body = ProfileChanged)))]
async fn read(ReadInTurn { caller, .. }: ReadInTurn) -> Json<ProfileChanged<'static>> {
    let username = caller.user.username.as_str().to_owned().into();
    Json(ProfileChanged { message: None, user: Profile { id: caller.user.id, username, role: Open::Known(caller.role) } })
}

/// Rename the caller's user
///
/// Who: any token. Permission: `write`.
#[utoipa::path(put, path = "/api/auth/profile", operation_id = "changeProfile", tag = "profile", security(("bearer" = [])),
    request_body = ChangeProfile,
    responses(
        (status = 200, description = "Renamed", body = ProfileChanged),
        (status = 403, description = "`needs_write`"),
        (status = 409, description = "`username_taken`"),
    ))]
async fn change(State(http): Http, body: JsonBody<ChangeProfile>) -> Result<Json<ProfileChanged<'static>>, Failure> {
    let user = ops::change_profile(&http.chat, &body.caller, body.value.username).await?;
    Ok(Json(ProfileChanged { message: Some("Profile updated successfully".into()), user: wire::profile(&user) }))
}
