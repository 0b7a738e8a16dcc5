//! Tokens.

mod list;
mod mint;
mod revoke;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::HttpState;

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new()
        .routes(routes!(list::list))
        .routes(routes!(mint::user))
        .routes(routes!(mint::client))
        .routes(routes!(revoke::delete))
        .routes(routes!(revoke::put))
}
