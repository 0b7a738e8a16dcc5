//! The endpoints of users.

mod change;
mod create;
mod external;
mod list;
mod messages;
mod read;

use super::prelude::*;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list::list, create::create))
        .routes(routes!(read::read, change::change))
        .routes(routes!(external::put))
        .routes(routes!(messages::of_user))
        .routes(routes!(messages::own))
}
