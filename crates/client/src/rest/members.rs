use chatsphere_protocol::rest::{AddUser, Done, UserRef};
use chatsphere_types::{RoomId, UserId};
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

impl Client {
    /// A room's members, in the order of joining.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn members(&self, room: RoomId, limit: Option<u32>) -> Result<Page<UserRef<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/users"), limit).await
    }

    /// Adds a member. Has no effect if the user already is one.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `needs_write`, `user_not_found`, `room_not_found`, and those of any call.
    pub async fn add_member(&self, room: RoomId, user: UserId) -> Result<(), Error> {
        let body = AddUser { user_id: user.to_string() };
        let path = format!("/api/rooms/{room}/users");
        self.call::<Done<'static>>(Method::POST, &path, Some(&body)).await.map(drop)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `owner_stays`, `needs_delete`, `needs_write`, `user_not_found`, `room_not_found`, and
    /// those of any call.
    pub async fn remove_member(&self, room: RoomId, user: UserId) -> Result<(), Error> {
        let path = format!("/api/rooms/{room}/users/{user}");
        self.call::<Done<'static>>(Method::DELETE, &path, None::<&()>).await.map(drop)
    }
}
