use chatsphere_protocol::rest::{EditMessage, Message, MessageInRoom, MessageVersion, PostMessage, RemovedMessage};
use chatsphere_types::{MessageId, RoomId, Seq, UserId};
use reqwest::Method;

use super::Page;
use crate::client::Client;
use crate::error::Error;

/// A place among the messages of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The place of this number, whether or not it is that of a message.
    At(Seq),
    /// The place of this message.
    Of(MessageId),
}

impl From<Seq> for Place {
    fn from(seq: Seq) -> Self {
        Self::At(seq)
    }
}

impl From<MessageId> for Place {
    fn from(message: MessageId) -> Self {
        Self::Of(message)
    }
}

impl Client {
    /// The newest messages of a room, ascending. The page's `prev` leads to older ones.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn messages(&self, room: RoomId, limit: Option<u32>) -> Result<Page<Message<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/messages"), limit).await
    }

    /// The messages of a room nearest above `after`, ascending. The page's `next` leads to newer ones.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn messages_after(&self, room: RoomId, after: Seq, limit: Option<u32>) -> Result<Page<Message<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/messages?after={after}"), limit).await
    }

    /// The messages of a room nearest below `before`, ascending. The page's `prev` leads to older ones.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn messages_before(
        &self,
        room: RoomId,
        before: Seq,
        limit: Option<u32>,
    ) -> Result<Page<Message<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/messages?before={before}"), limit).await
    }

    /// The messages of a room around a place, ascending: the message with this number or id, and those next to it on both sides.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, `message_not_found`, and those of any call.
    pub async fn messages_around(
        &self,
        room: RoomId,
        place: impl Into<Place>,
        limit: Option<u32>,
    ) -> Result<Page<Message<'static>>, Error> {
        let around = match place.into() {
            Place::At(seq) => seq.to_string(),
            Place::Of(message) => message.to_string(),
        };
        self.page(&format!("/api/rooms/{room}/messages?around={around}"), limit).await
    }

    /// A message, as it is now.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, `message_not_found`, and those of any call.
    pub async fn message(&self, room: RoomId, message: MessageId) -> Result<Message<'static>, Error> {
        self.get(&format!("/api/rooms/{room}/messages/{message}")).await
    }

    /// Posts a message. With a `clientMessageId` the call can be repeated: the message is stored once.
    ///
    /// # Errors
    /// `not_a_member`, `needs_write`, `not_yourself`, `user_not_found`, `room_not_found`, `client_message_id_reused`,
    /// `rate_limited`, `quota_exceeded`, and those of any call.
    pub async fn post_message(&self, room: RoomId, message: &PostMessage) -> Result<Message<'static>, Error> {
        self.call(Method::POST, &format!("/api/rooms/{room}/messages"), Some(message)).await
    }

    /// Changes what a message says. With `if_version` in `edit` it is refused if somebody changed it since.
    ///
    /// # Errors
    /// `not_a_member`, `not_the_author`, `needs_write`, `room_not_found`, `message_not_found`, `version_conflict`,
    /// `message_deleted`, `rate_limited`, `quota_exceeded`, and those of any call.
    pub async fn edit_message(&self, room: RoomId, message: MessageId, edit: &EditMessage) -> Result<Message<'static>, Error> {
        self.call(Method::PATCH, &format!("/api/rooms/{room}/messages/{message}"), Some(edit)).await
    }

    /// Deletes a message. It keeps its place, without its content.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `needs_delete`, `room_not_found`, `message_not_found`, `rate_limited`, and those of
    /// any call.
    pub async fn delete_message(&self, room: RoomId, message: MessageId) -> Result<Message<'static>, Error> {
        self.call(Method::DELETE, &format!("/api/rooms/{room}/messages/{message}"), None::<&()>).await
    }

    /// Deletes a message for good: only its number is left. For CLIENT tokens and ADMINs.
    ///
    /// # Errors
    /// `client_token_required`, `needs_delete`, `room_not_found`, `message_not_found`, `rate_limited`, and those of any call.
    pub async fn remove_message(&self, room: RoomId, message: MessageId) -> Result<RemovedMessage, Error> {
        self.call(Method::DELETE, &format!("/api/rooms/{room}/messages/{message}?hard=true"), None::<&()>).await
    }

    /// The pinned messages of a room, those that were pinned last first.
    ///
    /// # Errors
    /// `not_a_member`, `needs_read`, `room_not_found`, and those of any call.
    pub async fn pins(&self, room: RoomId) -> Result<Page<Message<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/pins"), None).await
    }

    /// Pins a message. For those who moderate the room.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `needs_write`, `room_not_found`, `message_not_found`, `message_deleted`,
    /// `too_many_pins`, `rate_limited`, `quota_exceeded`, and those of any call.
    pub async fn pin_message(&self, room: RoomId, message: MessageId) -> Result<Message<'static>, Error> {
        self.call(Method::PUT, &format!("/api/rooms/{room}/pins/{message}"), None::<&()>).await
    }

    /// Unpins a message. For those who moderate the room.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `needs_write`, `room_not_found`, `message_not_found`, `rate_limited`,
    /// `quota_exceeded`, and those of any call.
    pub async fn unpin_message(&self, room: RoomId, message: MessageId) -> Result<Message<'static>, Error> {
        self.call(Method::DELETE, &format!("/api/rooms/{room}/pins/{message}"), None::<&()>).await
    }

    /// The versions of a message, newest first. For its author, and those who moderate the room.
    ///
    /// # Errors
    /// `not_a_member`, `not_a_moderator`, `needs_read`, `room_not_found`, `message_not_found`, and those of any call.
    pub async fn message_versions(
        &self,
        room: RoomId,
        message: MessageId,
        limit: Option<u32>,
    ) -> Result<Page<MessageVersion<'static>>, Error> {
        self.page(&format!("/api/rooms/{room}/messages/{message}/versions"), limit).await
    }

    /// Forgets what the earlier versions of a message said.
    ///
    /// # Errors
    /// `not_a_member`, `not_the_author`, `needs_delete`, `room_not_found`, `message_not_found`, `rate_limited`, and those of
    /// any call.
    pub async fn forget_message_versions(&self, room: RoomId, message: MessageId) -> Result<Message<'static>, Error> {
        self.call(Method::DELETE, &format!("/api/rooms/{room}/messages/{message}/versions"), None::<&()>).await
    }

    /// Messages of all rooms, newest first. For CLIENT tokens.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, and those of any call.
    pub async fn all_messages(&self, limit: Option<u32>) -> Result<Page<MessageInRoom<'static>>, Error> {
        self.page("/api/messages", limit).await
    }

    /// A user's messages in all rooms, newest first. For CLIENT tokens and that user.
    ///
    /// # Errors
    /// `client_token_required`, `needs_read`, `user_not_found`, and those of any call.
    pub async fn messages_of(&self, user: UserId, limit: Option<u32>) -> Result<Page<MessageInRoom<'static>>, Error> {
        self.page(&format!("/api/users/{user}/messages"), limit).await
    }
}
