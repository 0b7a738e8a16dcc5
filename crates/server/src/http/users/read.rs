use chatsphere_protocol::rest::User;

use crate::http::prelude::*;

/// Read a user
///
/// Who: that user, a CLIENT token, or an unrestricted ADMIN token. Permission: `read`.
#[utoipa::path(get, path = "/api/users/{userId}", operation_id = "getUser", tag = "users", security(("bearer" = [])),
    params(("userId" = String, Path, format = "uuid", description = "The user")),
    responses(
        (status = 200, description = "The user; `externalId` only for CLIENT tokens and unrestricted ADMIN tokens",
            body = User<'static>),
        (status = 403, description = "`client_token_required`, `needs_read`, `needs_unrestricted_token`"),
        (status = 404, description = "`user_not_found`: told to those who may see every user"),
    ))]
pub(super) async fn read(
    State(http): Http,
    ReadInTurn { caller, path: user }: ReadInTurn<String>,
) -> Result<Json<User<'static>>, Failure> {
    // An id that is not a UUID belongs to nobody. Only callers who may see every user learn that; `find_user` rejects the
    // others.
    let user = match ops::user_id(&user) {
        Ok(user) => ops::read_user(&http.chat, &caller, user).await?,
        Err(absent) => {
            ops::find_user(&http.chat, &caller, "").await?;
            return Err(absent.into());
        }
    };
    Ok(Json(wire::user(user)))
}
