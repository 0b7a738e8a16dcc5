//! What a database must do to take an import. Each method is one transaction.

use std::collections::HashSet;

use chatsphere_core::{Role, Timestamp};
use uuid::Uuid;

use super::report::{ImportError, Tally};

/// A user to add.
#[derive(Debug)]
pub(crate) struct UserIn {
    pub(crate) id: Uuid,
    pub(crate) username: String,
    pub(crate) role: Role,
    pub(crate) at: Timestamp,
}

/// A room to add.
#[derive(Debug)]
pub(crate) struct RoomIn {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) owner: Uuid,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A membership to add.
#[derive(Debug)]
pub(crate) struct MemberIn {
    pub(crate) room: Uuid,
    pub(crate) user: Uuid,
}

/// A message to add.
pub(crate) struct MessageIn {
    pub(crate) id: Uuid,
    pub(crate) room: Uuid,
    pub(crate) author: Uuid,
    pub(crate) content: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

pub(crate) trait Target {
    /// The user of this name, else of this id.
    async fn user_named(&mut self, name: &str, id: Uuid) -> Result<Option<Uuid>, ImportError>;
    /// Those of the ids that are there.
    async fn known_users(&mut self, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError>;
    /// Those of the names that are there, or look like that of an ADMIN, a MODERATOR or a CLIENT token's user here.
    async fn names_taken(&mut self, names: &[String]) -> Result<HashSet<String>, ImportError>;
    /// Adds users; each id and name is new. How many.
    async fn add_users(&mut self, users: &[UserIn]) -> Result<u64, ImportError>;
    /// Adds the rooms that are not there.
    async fn add_rooms(&mut self, rooms: &[RoomIn]) -> Result<Tally, ImportError>;
    /// Adds memberships, each as the room's next event, at the room's time and by its owner. One that began before is left
    /// as it is, ended or not.
    async fn add_members(&mut self, members: &[MemberIn]) -> Result<Tally, ImportError>;
    /// Adds the messages that are not there, each as the room's next event.
    async fn add_messages(&mut self, messages: &[MessageIn]) -> Result<Tally, ImportError>;
    /// The first of the rooms whose `seq` or counts are not those of its rows.
    async fn first_wrong_room(&mut self, rooms: &[Uuid]) -> Result<Option<Uuid>, ImportError>;
}
