//! The endpoints of tokens.

mod list;
mod mint;
mod revoke;

use super::prelude::*;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list::list))
        .routes(routes!(mint::user))
        .routes(routes!(mint::client))
        .routes(routes!(revoke::delete))
        .routes(routes!(revoke::put))
}
