use chatsphere_types::{RoomId, Seq};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Page;
use crate::client::Client;
use crate::error::Error;
use crate::event::Event;
use crate::frame::parse_event;

impl Client {
    /// A room's durable events above `after`, ascending; 0 is the beginning. What a join could not replay is here.
    ///
    /// # Errors
    /// `not_a_member`, `room_not_found`, and those of any call.
    pub async fn events(&self, room: RoomId, after: Seq, limit: Option<u32>) -> Result<Page<Event>, Error> {
        self.page(&format!("/api/rooms/{room}/events?after={after}"), limit).await
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        parse_event(raw.get()).ok_or_else(|| D::Error::custom("an event has a `type`, a `roomId` and a `seq`"))
    }
}
