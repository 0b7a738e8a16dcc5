//! The stored objects: users, rooms and messages. The events of a room are in [`event`](crate::event).

use serde::{Deserialize, Serialize};

use crate::event::MessageKey;
use crate::ids::{MessageId, RoomId, UserId};
use crate::seq::Seq;
use crate::text::{ClientMessageId, Content, ExternalId, RoomName, Username};
use crate::time::Timestamp;

pub use chatsphere_types::{Role, Version};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The current username.
    pub username: Username,
    /// The role.
    pub role: Role,
    /// Whether the user is disabled. The server then rejects its tokens and closes its sockets.
    pub disabled: bool,
    /// The application's own id of the user.
    pub external_id: Option<ExternalId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the name, role or state last changed.
    pub updated_at: Timestamp,
}

/// The part of a user that other users see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// The id.
    pub id: UserId,
    /// The username at the time of the read.
    pub username: Username,
}

impl UserRef {
    /// Returns the bytes of the username.
    pub(crate) fn text_len(&self) -> usize {
        self.username.as_str().len()
    }
}

impl From<&User> for UserRef {
    fn from(user: &User) -> Self {
        Self { id: user.id, username: user.username.clone() }
    }
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The id.
    pub id: RoomId,
    /// The name.
    pub name: RoomName,
    /// The owner.
    pub owner: UserId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When the name last changed. Messages do not change it.
    pub updated_at: Timestamp,
    /// The number of the newest event.
    pub seq: Seq,
    /// The number of messages, which each commit updates.
    pub message_count: u64,
    /// The number of members, which each commit updates.
    pub member_count: u64,
}

/// A message in its current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The id.
    pub id: MessageId,
    /// The room.
    pub room_id: RoomId,
    /// The author, with the current username.
    pub author: UserRef,
    /// The number of the event that posted the message.
    pub seq: Seq,
    /// The content.
    pub content: Content,
    /// The sender's own id of the message.
    pub client_message_id: Option<ClientMessageId>,
    /// When the server accepted the message.
    pub created_at: Timestamp,
    /// When the content last changed, or the message was deleted.
    pub updated_at: Timestamp,
    /// What most messages do not have.
    pub details: Option<Box<MessageDetails>>,
}

/// What a message has besides what every message has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageDetails {
    /// The number of the event that last changed the content or the pin: that of the message, if none did.
    pub content_seq: Seq,
    /// The version: 1 as posted, then one more for each change of the content.
    pub version: Version,
    /// When the content was last edited.
    pub edited_at: Option<Timestamp>,
    /// The user who last edited the content, if not the author.
    pub edited_by: Option<UserId>,
    /// When the message was deleted. It keeps its place, without its content.
    pub deleted_at: Option<Timestamp>,
    /// The user who deleted it.
    pub deleted_by: Option<UserId>,
    /// When the message was pinned, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<Timestamp>,
    /// The user who pinned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_by: Option<UserId>,
    /// Whether the message was deleted for good. It is then in no page and no list, and only its number is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// A version of a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageVersion {
    /// The number of the version.
    pub version: Version,
    /// The content; `None` once it was erased.
    pub content: Option<Content>,
    /// When the server accepted this version.
    pub at: Timestamp,
    /// The user who wrote this version.
    pub by: UserRef,
}

impl MessageDetails {
    /// Returns those of a message of this number that has nothing besides.
    pub fn of(seq: Seq) -> Self {
        Self {
            content_seq: seq,
            version: Version::FIRST,
            edited_at: None,
            edited_by: None,
            deleted_at: None,
            deleted_by: None,
            pinned_at: None,
            pinned_by: None,
            removed: false,
        }
    }
}

impl Message {
    /// Returns the details, which are added if the message has none.
    pub fn details_mut(&mut self) -> &mut MessageDetails {
        self.details.get_or_insert_with(|| Box::new(MessageDetails::of(self.seq)))
    }

    /// Returns the id and number.
    pub fn key(&self) -> MessageKey {
        MessageKey { id: self.id, seq: self.seq }
    }

    /// Returns the current version.
    pub fn version(&self) -> Version {
        self.details.as_ref().map_or(Version::FIRST, |details| details.version)
    }

    /// Returns whether the message was deleted.
    pub fn is_deleted(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.deleted_at.is_some())
    }

    /// Returns whether the message was deleted for good.
    pub fn is_removed(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.removed)
    }

    /// Returns whether the message is pinned.
    pub fn is_pinned(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.pinned_at.is_some())
    }

    /// Returns the number of the event that last changed the message.
    pub fn change_seq(&self) -> Seq {
        self.details.as_ref().map_or(self.seq, |details| details.content_seq)
    }

    /// Returns the bytes of the texts, the author's name included.
    pub fn text_len(&self) -> usize {
        let id = self.client_message_id.as_ref().map_or(0, |id| id.as_str().len());
        self.content.as_str().len() + self.author.text_len() + id
    }

    /// Returns the bytes of memory that the message takes.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.details.as_ref().map_or(0, |_| size_of::<MessageDetails>()) + self.text_len()
    }
}

/// A message with the data of its room, for lists of messages of all rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInRoom {
    /// The message.
    pub message: Message,
    /// The room's current name.
    pub room_name: RoomName,
    /// When the room was created.
    pub room_created_at: Timestamp,
    /// When the room's name last changed.
    pub room_updated_at: Timestamp,
}
