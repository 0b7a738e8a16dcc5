use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use chatsphere_core::ops;
use chatsphere_protocol::rest::User;

use crate::http::failure::Failure;
use crate::http::reading::Reading;
use crate::http::state::HttpState;

/// Show a user
///
/// Who: that user, a CLIENT token, or an ADMIN's without restrictions. Permission: `read`.
#[utoipa::path(get, path = "/api/users/{userId}", operation_id = "getUser", tag = "users", security(("bearer" = [])),
    params(("userId" = String, Path, format = "uuid", description = "The user")),
    responses(
        (status = 200, description = "The user; `externalId` for a CLIENT token and ADMINs alone", body = User<'static>),
        (status = 403, description = "`client_token_required`, `needs_read`, `needs_unrestricted_token`"),
        (status = 404, description = "`user_not_found`: told to those who may see every user"),
    ))]
pub(super) async fn read(
    State(http): State<Arc<HttpState>>,
    Reading(caller): Reading,
    Path(user): Path<String>,
) -> Result<Json<User<'static>>, Failure> {
    // What is no UUID is nobody's id: whoever may not see every user is told only that.
    let user = match ops::user_id(&user) {
        Ok(user) => ops::read_user(&http.chat, &caller, user).await?,
        Err(absent) => {
            ops::find_user(&http.chat, &caller, "").await?;
            return Err(absent.into());
        }
    };
    Ok(Json(crate::wire::user(user)))
}
