use std::time::Duration;

use chatsphere_core::{Done, InvalidField, TokenWithUser, parse_duration};
use chatsphere_protocol::rest::{MintClientToken, MintUserToken, Minted};

use crate::http::prelude::*;

/// Mint a USER token
///
/// A USER token mints only for its own user, with at most its own rights and lifetime. Its revocation revokes the tokens that
/// it minted. Only this answer contains the token.
///
/// Who: a CLIENT token, or that user. Permission: `write`.
#[utoipa::path(post, path = "/api/tokens/user", operation_id = "mintUserToken", tag = "tokens", security(("bearer" = [])),
    request_body = MintUserToken,
    responses(
        (status = 201, description = "Minted", body = Minted),
        (status = 403, description = "`not_yourself`, `more_rights_than_own`, `needs_write`"),
        (status = 404, description = "`user_not_found`"),
        (status = 409, description = "`idempotency_key_reused`"),
    ))]
pub(super) async fn user(State(http): Http, body: JsonBody<MintUserToken>) -> Result<Response, Failure> {
    let MintUserToken { user_id, permissions, expires_in } = body.value;
    let mint = ops::MintUserToken {
        user_id: ops::user_id(&user_id)?,
        permissions: permissions.map(wire::permissions),
        expires_in: life(expires_in.as_deref())?,
        idempotency: body.idempotency,
    };
    answer(&http, ops::mint_user_token(&http.chat, &body.caller, mint).await?)
}

/// Mint a CLIENT token
///
/// A CLIENT token may do everything, for every user, so keep it in a backend. Only this answer contains the token.
///
/// Who: a CLIENT token; an ADMIN's is not enough. Permission: none.
#[utoipa::path(post, path = "/api/tokens/client", operation_id = "mintClientToken", tag = "tokens", security(("bearer" = [])),
    request_body = MintClientToken,
    responses(
        (status = 201, description = "Minted", body = Minted),
        (status = 403, description = "`client_token_required`"),
        (status = 404, description = "`user_not_found`"),
        (status = 409, description = "`username_lookalike`, `idempotency_key_reused`"),
    ))]
pub(super) async fn client(State(http): Http, body: JsonBody<MintClientToken>) -> Result<Response, Failure> {
    let MintClientToken { user_id, email, expires_in } = body.value;
    let mint = ops::MintClientToken {
        user_id: ops::user_id(&user_id)?,
        email,
        expires_in: life(expires_in.as_deref())?,
        idempotency: body.idempotency,
    };
    answer(&http, ops::mint_client_token(&http.chat, &body.caller, mint).await?)
}

fn life(text: Option<&str>) -> Result<Option<Duration>, InvalidField> {
    let life = text.map(parse_duration).transpose();
    life.map_err(|error| InvalidField::new("expiresIn", error.to_string()))
}

/// A replayed call signs the token again, because tokens are not stored.
fn answer(http: &HttpState, done: Done<TokenWithUser>) -> Result<Response, Failure> {
    let TokenWithUser { token, user } = done.value;
    let signed = http.keys.sign(&token, &user)?;
    let answer = Minted { token: signed, id: token.id, user: wire::profile(&user), expires_at: token.expires_at };
    Ok((StatusCode::CREATED, Replayed(done.replayed), Json(answer)).into_response())
}
