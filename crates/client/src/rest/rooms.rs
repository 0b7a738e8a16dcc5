use chatsphere_protocol::rest::{CreateRoom, Room, RoomWithUsers};
use chatsphere_types::RoomId;
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

impl Client {
    /// The rooms visible to the token: all for a CLIENT token, the user's own for a USER token.
    ///
    /// # Errors
    /// `needs_read`, and those of any call.
    pub async fn rooms(&self, limit: Option<u32>) -> Result<Page<Room>, Error> {
        self.page("/api/rooms", limit).await
    }

    /// Creates a room.
    ///
    /// # Errors
    /// `needs_write`, `needs_unrestricted_token`, `not_yourself`, `user_not_found`, and those of any call.
    pub async fn create_room(&self, room: &CreateRoom) -> Result<Room, Error> {
        self.call(Method::POST, "/api/rooms", Some(room)).await
    }

    /// A room with its first 100 members.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn room(&self, room: RoomId) -> Result<RoomWithUsers, Error> {
        self.get(&format!("/api/rooms/{room}")).await
    }
}
