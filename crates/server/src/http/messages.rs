use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chatsphere_core::ops;
use chatsphere_protocol::rest::MessageInRoom;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failure::Failure;
use super::json_list;
use super::link::Links;
use super::query::{PageParams, Query};
use super::reading::Reading;
use super::state::HttpState;
use crate::auth::List;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// List all messages
///
/// Newest first, across all rooms. `next` in the header `Link` is older.
///
/// Who: a CLIENT token, or an ADMIN's. Permission: `read`.
#[utoipa::path(get, path = "/api/messages", operation_id = "listMessages", tag = "messages", security(("bearer" = [])),
    params(PageParams),
    responses(
        (status = 200, description = "A page of messages", body = Vec<MessageInRoom<'static>>),
        (status = 403, description = "`client_token_required`, `needs_read`"),
    ))]
async fn list(State(http): State<Arc<HttpState>>, Reading(caller): Reading, query: Query) -> Result<Response, Failure> {
    let cursors = http.keys.cursors(&caller, List::Messages);
    let page = ops::all_messages(&http.chat, &caller, query.page(&cursors)?).await?;
    let links = Links::next(&query, &cursors, page.next)?;
    Ok((links, json_list::answer_in_rooms(page.items).await).into_response())
}
