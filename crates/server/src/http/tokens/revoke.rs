use chatsphere_protocol::rest::Done;

use crate::http::prelude::*;

/// Revoke a token
///
/// Revokes the token and all tokens that it minted. When this call returns, no node stores anything more on their behalf. Their
/// sockets on this node are closed, those on other nodes within a second. Revoking again changes nothing.
///
/// Who: a CLIENT token, or the token's user; an ADMIN for any USER token; a restricted token only for itself and the tokens
/// that it minted. Permission: `delete`, unless a token revokes itself.
#[utoipa::path(delete, path = "/api/tokens/{tokenId}", operation_id = "revokeToken", tag = "tokens", security(("bearer" = [])),
    params(("tokenId" = String, Path, format = "uuid", description = "The token's id")),
    responses(
        (status = 200, description = "Revoked", body = Done),
        (status = 403, description = "`client_token_required`, `needs_delete`, `needs_unrestricted_token`"),
        (status = 404, description = "`token_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn delete(
    State(http): Http,
    Call { caller, path: token }: Call<TokenId>,
) -> Result<Json<Done<'static>>, Failure> {
    revoke(&http, &caller, token).await
}

/// Revoke a token, as clients of the Node.js version do
///
/// The same as `DELETE /api/tokens/{tokenId}`. It takes no body.
///
/// Who: a CLIENT token, or the token's user; an ADMIN for any USER token; a restricted token only for itself and the tokens
/// that it minted. Permission: `delete`, unless a token revokes itself.
#[utoipa::path(put, path = "/api/tokens/{tokenId}/revoke", operation_id = "revokeTokenByPut", tag = "tokens",
    security(("bearer" = [])),
    params(("tokenId" = String, Path, format = "uuid", description = "The token's id")),
    responses(
        (status = 200, description = "Revoked", body = Done),
        (status = 403, description = "`client_token_required`, `needs_delete`, `needs_unrestricted_token`"),
        (status = 404, description = "`token_not_found`: only for CLIENT tokens and ADMINs"),
    ))]
pub(super) async fn put(
    State(http): Http,
    Call { caller, path: token }: Call<TokenId>,
) -> Result<Json<Done<'static>>, Failure> {
    revoke(&http, &caller, token).await
}

async fn revoke(http: &HttpState, caller: &Caller, token: TokenId) -> Result<Json<Done<'static>>, Failure> {
    ops::revoke_token(&http.chat, caller, token).await?;
    Ok(Json(Done { message: "Token revoked successfully".into() }))
}
