use chatsphere_core::parse_duration;
use chatsphere_protocol::rest::{ExternalUser, PutExternalUser};

use crate::http::prelude::*;

/// Create, or find and change, a user by the application's own id
///
/// If the user exists, the given fields are changed. The same call again changes nothing more, but mints another token if
/// `token` is given. `externalId` has 1 to 128 bytes and no control characters. In the path it is percent-encoded, a slash as
/// `%2F`.
///
/// Who: a CLIENT token, or an unrestricted ADMIN token; with `token` for an existing user, a CLIENT token. Permission: `write`.
#[utoipa::path(put, path = "/api/users/external/{externalId}", operation_id = "putExternalUser", tag = "users",
    security(("bearer" = [])),
    params(("externalId" = String, Path, description = "The application's own id of the user")),
    request_body = PutExternalUser,
    responses(
        (status = 200, description = "The user existed; the given fields were changed", body = ExternalUser),
        (status = 201, description = "The user was created", body = ExternalUser),
        (status = 403, description = "`client_token_required`, `needs_write`, `needs_unrestricted_token`"),
        (status = 409, description = "`username_taken`, `username_lookalike`"),
    ))]
pub(super) async fn put(
    State(http): Http,
    JsonBody { caller, path: external_id, value, .. }: JsonBody<PutExternalUser, String>,
) -> Result<Response, Failure> {
    let PutExternalUser { username, role, token } = value;
    let token = token.map(|wanted| {
        let life = wanted.expires_in.as_deref().map(parse_duration).transpose();
        let expires_in = life.map_err(|error| Failure::invalid("token.expiresIn", error.to_string()))?;
        Ok::<_, Failure>(ops::WantedToken { permissions: wanted.permissions.map(wire::permissions), expires_in })
    });
    let put = ops::PutExternalUser { external_id, username, role, token: token.transpose()? };
    let done = ops::put_external_user(&http.chat, &caller, put).await?;
    let token = done.token.as_ref();
    let answer = ExternalUser {
        token: token.map(|token| http.keys.sign(token, &done.user)).transpose()?,
        token_id: token.map(|token| token.id),
        expires_at: token.map(|token| token.expires_at),
        user: wire::user(done.user),
    };
    Ok((if done.made { StatusCode::CREATED } else { StatusCode::OK }, Json(answer)).into_response())
}
