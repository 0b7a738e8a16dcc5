use chatsphere_protocol::rest::{ChangeUser, User};

use crate::http::prelude::*;

/// Rename a user, change its role, disable or enable it
///
/// At least one field is required. When this call returns, the change is effective on this node, open sockets included; on
/// other nodes within a second.
///
/// Who: a CLIENT token, or an unrestricted ADMIN token; to disable a user for whom a CLIENT token acts, a CLIENT token.
/// Permission: `write`.
#[utoipa::path(patch, path = "/api/users/{userId}", operation_id = "changeUser", tag = "users", security(("bearer" = [])),
    params(("userId" = String, Path, format = "uuid", description = "The user")),
    request_body = ChangeUser,
    responses(
        (status = 200, description = "The user after the call", body = User),
        (status = 403, description = "`client_token_required`, `needs_write`, `needs_unrestricted_token`, \
         `behind_client_token`"),
        (status = 404, description = "`user_not_found`"),
        (status = 409, description = "`username_taken`, `username_lookalike`"),
    ))]
pub(super) async fn change(
    State(http): Http,
    ChangeBody(body): ChangeBody<ChangeUser, UserId>,
) -> Result<Json<User<'static>>, Failure> {
    let ChangeUser { role, disabled, username } = body.value;
    let change = ops::ChangeUser { user_id: body.path, role, disabled };
    let user = ops::rename_and_change_user(&http.chat, &body.caller, change, username).await?;
    Ok(Json(wire::user(user)))
}
