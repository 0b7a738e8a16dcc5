//! What ChatSphere keeps: users, rooms and messages. The events of a room are in [`event`](crate::event).

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
    /// Its id.
    pub id: UserId,
    /// Its present name.
    pub username: Username,
    /// What it may do in general.
    pub role: Role,
    /// A disabled user's tokens are refused and its sockets closed.
    pub disabled: bool,
    /// The application's own id for it.
    pub external_id: Option<ExternalId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name, role or state changed last.
    pub updated_at: Timestamp,
}

/// A user as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// Its id.
    pub id: UserId,
    /// Its name when this was read.
    pub username: Username,
}

impl UserRef {
    /// Bytes of its name.
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
    /// Its id.
    pub id: RoomId,
    /// Its name.
    pub name: RoomName,
    /// Who made it, and owns it.
    pub owner: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name changed last. Messages do not change it.
    pub updated_at: Timestamp,
    /// The number of its newest event.
    pub seq: Seq,
    /// How many messages it holds; kept in the commit.
    pub message_count: u64,
    /// How many members it has; kept in the commit.
    pub member_count: u64,
}

/// A message, in its present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it was said.
    pub room_id: RoomId,
    /// Who said it, under the present name.
    pub author: UserRef,
    /// Its number among the room's events.
    pub seq: Seq,
    /// What it says.
    pub content: Content,
    /// The sender's own id for it.
    pub client_message_id: Option<ClientMessageId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// What has become of it since it was posted.
    pub change: Option<Box<MessageChange>>,
}

/// What has become of a message since it was posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageChange {
    /// The number of the event that changed its content last.
    pub seq: Seq,
    /// 2 after the first change, and one more at each.
    pub version: Version,
    /// When its content changed last.
    pub edited_at: Timestamp,
    /// Who changed it last, if not its author.
    pub edited_by: Option<UserId>,
}

/// A message as it was in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageVersion {
    /// Which.
    pub version: Version,
    /// What it said. `None` once that was forgotten.
    pub content: Option<Content>,
    /// When that was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: UserRef,
}

impl Message {
    /// Its id and number.
    pub fn key(&self) -> MessageKey {
        MessageKey { id: self.id, seq: self.seq }
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.change.as_ref().map_or(Version::FIRST, |change| change.version)
    }

    /// The number of the event that last changed anything of it.
    pub fn change_seq(&self) -> Seq {
        self.change.as_ref().map_or(self.seq, |change| change.seq)
    }

    /// Bytes of its texts, its author's name included.
    pub fn text_len(&self) -> usize {
        let id = self.client_message_id.as_ref().map_or(0, |id| id.as_str().len());
        self.content.as_str().len() + self.author.text_len() + id
    }

    /// Bytes of memory that it holds.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.change.as_ref().map_or(0, |_| size_of::<MessageChange>()) + self.text_len()
    }
}

/// A message together with what is shown of its room, for lists across rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInRoom {
    /// The message.
    pub message: Message,
    /// Its room's present name.
    pub room_name: RoomName,
    /// When its room was made.
    pub room_created_at: Timestamp,
    /// When its room's name changed last.
    pub room_updated_at: Timestamp,
}
