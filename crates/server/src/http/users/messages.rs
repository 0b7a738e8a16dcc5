use chatsphere_protocol::rest::MessageInRoom;

use crate::http::prelude::*;

/// List a user's messages
///
/// Newest first, in all rooms. A user without further rights sees messages in the rooms that it is a member of. `next` in the
/// header `Link` is older.
///
/// Who: that user, a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/users/{userId}/messages", operation_id = "listUserMessages", tag = "messages",
    security(("bearer" = [])),
    params(("userId" = String, Path, format = "uuid", description = "The author"), PageParams),
    responses(
        (status = 200, description = "A page of messages", body = Vec<MessageInRoom<'static>>),
        (status = 403, description = "`client_token_required`, `needs_read`"),
        (status = 404, description = "`user_not_found`"),
    ))]
pub(super) async fn of_user(
    State(http): Http,
    ReadInTurn { caller, path: user }: ReadInTurn<UserId>,
    query: Query,
) -> Result<Response, Failure> {
    answer(&http, &caller, user, &query).await
}

/// List the caller's messages
///
/// The same as `GET /api/users/{userId}/messages` for the caller, or for `userId` if given.
///
/// Who: any token; for another `userId`: a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/messages/user", operation_id = "listOwnMessages", tag = "messages",
    security(("bearer" = [])),
    params(("userId" = Option<String>, Query, format = "uuid", description = "The author; the caller if absent"), PageParams),
    responses(
        (status = 200, description = "A page of messages", body = Vec<MessageInRoom<'static>>),
        (status = 403, description = "`client_token_required`, `needs_read`"),
        (status = 404, description = "`user_not_found`"),
    ))]
pub(super) async fn own(State(http): Http, ReadInTurn { caller, .. }: ReadInTurn, query: Query) -> Result<Response, Failure> {
    let user = query.one("userId")?.map(ops::user_id).transpose()?.unwrap_or(caller.user.id);
    answer(&http, &caller, user, &query).await
}

async fn answer(http: &HttpState, caller: &Caller, user: UserId, query: &Query) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(caller, List::MessagesOf(user));
    let page = ops::messages_of_user(&http.chat, caller, user, query.page(&cursors)?).await?;
    let links = Links::next(query, &cursors, page.next)?;
    Ok((links, json_list::answer_in_rooms(page.items).await).into_response())
}
