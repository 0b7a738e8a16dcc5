use chatsphere_types::{RoomId, Seq};

use super::Page;
use crate::client::Client;
use crate::error::Error;
use crate::event::Event;

impl Client {
    /// A room's durable events above `after`, ascending; 0 is the beginning. Use it for events that a join did not replay.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn events(&self, room: RoomId, after: Seq, limit: Option<u32>) -> Result<Page<Event>, Error> {
        self.page(&format!("/api/rooms/{room}/events?after={after}"), limit).await
    }
}
