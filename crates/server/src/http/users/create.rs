use chatsphere_protocol::rest::{CreateUser, CreatedUser};

use crate::http::prelude::*;

/// Create a user
///
/// The answer contains the user's first USER token. No later answer contains it.
///
/// Who: a CLIENT token, or an unrestricted ADMIN token. Permission: `write`.
#[utoipa::path(post, path = "/api/users", operation_id = "createUser", tag = "users", security(("bearer" = [])),
    request_body = CreateUser,
    responses(
        (status = 201, description = "Created", body = CreatedUser),
        (status = 403, description = "`client_token_required`, `needs_write`, `needs_unrestricted_token`, \
         `more_rights_than_own`"),
        (status = 409, description = "`username_taken`, `idempotency_key_reused`"),
    ))]
pub(super) async fn create(
    State(http): Http,
    JsonBody { caller, value, idempotency, .. }: JsonBody<CreateUser>,
) -> Result<impl IntoResponse, Failure> {
    let CreateUser { username, role } = value;
    let done = ops::create_user(&http.chat, &caller, ops::CreateUser { username, role, idempotency }).await?;
    let made = done.value;
    let answer = CreatedUser {
        user: wire::profile(&made.user),
        token: http.keys.sign(&made.token, &made.user)?,
        token_id: made.token.id,
        expires_at: made.token.expires_at,
    };
    Ok((StatusCode::CREATED, Replayed(done.replayed), Json(answer)))
}
