//! The endpoints of rooms, their members, messages and events.

mod collection;
mod events;
mod members;
mod message;
mod messages;
mod pins;
mod room;
mod signals;
mod typing;

use super::prelude::*;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(collection::list, collection::create))
        .routes(routes!(room::read))
        .routes(routes!(members::list, members::add))
        .routes(routes!(members::remove))
        .routes(routes!(messages::list, messages::post))
        .routes(routes!(message::read, message::edit, message::delete))
        .routes(routes!(message::versions, message::forget_versions))
        .routes(routes!(pins::list))
        .routes(routes!(pins::pin, pins::unpin))
        .routes(routes!(events::list))
        .routes(routes!(typing::post))
        .routes(routes!(signals::post))
}
