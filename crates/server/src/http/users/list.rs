use chatsphere_core::store::Page;
use chatsphere_protocol::rest::User;

use crate::http::prelude::*;

/// List users
///
/// In the order of their creation. With `username`, only the user with exactly this name, byte for byte, or none.
///
/// Who: a CLIENT token, or an unrestricted ADMIN token. Permission: `read`.
#[utoipa::path(get, path = "/api/users", operation_id = "listUsers", tag = "users", security(("bearer" = [])),
    params(("username" = Option<String>, Query, description = "Only the user with this name"), PageParams),
    responses(
        (status = 200, description = "A page of users", body = Vec<User<'static>>),
        (status = 403, description = "`client_token_required`, `needs_read`, `needs_unrestricted_token`"),
    ))]
pub(super) async fn list(
    State(http): Http,
    ReadInTurn { caller, .. }: ReadInTurn,
    query: Query,
) -> Result<impl IntoResponse, Failure> {
    let cursors = http.keys.cursors(&caller, List::Users);
    let request = query.page(&cursors)?;
    let page = match query.one("username")? {
        None => ops::list_users(&http.chat, &caller, request).await?,
        Some(name) => Page { items: Vec::from_iter(ops::find_user(&http.chat, &caller, name).await?), next: None },
    };
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, JsonList(page.items.into_iter().map(wire::user).collect::<Vec<_>>())))
}
