//! Users.

mod change;
mod create;
mod external;
mod list;
mod messages;
mod read;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::HttpState;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create::create))
        .routes(routes!(read::read, change::change))
        .routes(routes!(external::put))
        .routes(routes!(messages::of_user))
        .routes(routes!(messages::own))
}
