use chatsphere_protocol::rest::Done;

use crate::http::prelude::*;

/// Revoke a token
///
/// And all that it minted. When the answer comes, nothing more is stored on their behalf, on any node, and their sockets on
/// this node have ended; on every other node within a second. Revoking again changes nothing.
///
/// Who: a CLIENT token, or the token's user; an ADMIN's for any USER token; a token with restrictions only for itself and what
/// it minted. Permission: `delete`, unless a token revokes itself.
#[utoipa::path(delete, path = "/api/tokens/{tokenId}", operation_id = "revokeToken", tag = "tokens", security(("bearer" = [])),
    params(("tokenId" = String, Path, format = "uuid", description = "The token's id")),
    responses(
        (status = 200, description = "Revoked", body = Done),
        (status = 403, description = "`client_token_required`, `needs_delete`, `needs_unrestricted_token`"),
        (status = 404, description = "`token_not_found`: told only to a CLIENT token and to ADMINs"),
    ))]
pub(super) async fn delete(
    State(http): Http,
    Call { caller, path: token }: Call<TokenId>,
) -> Result<Json<Done<'static>>, Failure> {
    revoke(&http, &caller, token).await
}

/// Revoke a token, as the first version's clients do
///
/// The same as `DELETE /api/tokens/{tokenId}`; takes no body.
///
/// Who: a CLIENT token, or the token's user; an ADMIN's for any USER token; a token with restrictions only for itself and what
/// it minted. Permission: `delete`, unless a token revokes itself.
#[utoipa::path(put, path = "/api/tokens/{tokenId}/revoke", operation_id = "revokeTokenByPut", tag = "tokens",
    security(("bearer" = [])),
    params(("tokenId" = String, Path, format = "uuid", description = "The token's id")),
    responses(
        (status = 200, description = "Revoked", body = Done),
        (status = 403, description = "`client_token_required`, `needs_delete`, `needs_unrestricted_token`"),
        (status = 404, description = "`token_not_found`: told only to a CLIENT token and to ADMINs"),
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
