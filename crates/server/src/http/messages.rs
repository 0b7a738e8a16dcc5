use chatsphere_protocol::rest::MessageInRoom;

use super::prelude::*;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// List all messages
///
/// Newest first, of all rooms. `next` in the header `Link` is older.
///
/// Who: a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/messages", operation_id = "listMessages", tag = "messages", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "A page of messages", body = Vec<MessageInRoom<'static>>),
        (status = 403, description = "`client_token_required`, `needs_read`"),
    ))]
async fn list(State(http): Http, ReadInTurn { caller, .. }: ReadInTurn, query: Query) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(&caller, List::Messages);
    let page = ops::all_messages(&http.chat, &caller, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, json_list::answer_in_rooms(page.items).await).into_response())
}
