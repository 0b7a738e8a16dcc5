use chatsphere_protocol::rest::Token;

use crate::http::prelude::*;

/// List tokens
///
/// Newest first: the data of all tokens, without the tokens themselves. `next` in the header `Link` is older.
///
/// Who: a CLIENT token, or an unrestricted ADMIN token. Permission: `read`.
#[utoipa::path(get, path = "/api/tokens", operation_id = "listTokens", tag = "tokens", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "A page of tokens", body = Vec<Token>),
        (status = 403, description = "`client_token_required`, `needs_read`, `needs_unrestricted_token`"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, .. }: ReadInTurn,
    query: Query,
) -> Result<impl IntoResponse, Failure> {
    let cursors = http.keys.cursors(&caller, List::Tokens);
    let page = ops::list_tokens(&http.chat, &caller, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, JsonList(page.items.into_iter().map(wire::token).collect::<Vec<_>>())))
}
