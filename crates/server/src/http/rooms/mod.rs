//! Rooms, their members, their messages and their events.

mod collection;
mod events;
mod members;
mod messages;
mod room;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::HttpState;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new()
        .routes(routes!(collection::list, collection::create))
        .routes(routes!(room::read))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::remove))
        .routes(routes!(messages::list, messages::post))
        .routes(routes!(events::list))
}
