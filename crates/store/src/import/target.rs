//! The operations that a database offers to an import. Each method is one transaction.

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
    /// Returns the id of the user with this name, or else with this id.
    async fn user_named(&mut self, name: &str, id: Uuid) -> Result<Option<Uuid>, ImportError>;
    /// Returns those of the ids that exist.
    async fn known_users(&mut self, ids: &[Uuid]) -> Result<HashSet<Uuid>, ImportError>;
    /// Returns those of the names that exist, or that look like the name of an ADMIN, a MODERATOR or a user for whom a CLIENT
    /// token acts.
    async fn names_taken(&mut self, names: &[String]) -> Result<HashSet<String>, ImportError>;
    /// Adds users, whose ids and names must be new. Returns how many.
    async fn add_users(&mut self, users: &[UserIn]) -> Result<u64, ImportError>;
    /// Adds the rooms that do not exist.
    async fn add_rooms(&mut self, rooms: &[RoomIn]) -> Result<Tally, ImportError>;
    /// Adds memberships, each as the room's next event, with the room's time and by its owner. Memberships that began before
    /// are skipped, whether they have ended or not.
    async fn add_members(&mut self, members: &[MemberIn]) -> Result<Tally, ImportError>;
    /// Adds the messages that do not exist, each as the room's next event.
    async fn add_messages(&mut self, messages: &[MessageIn]) -> Result<Tally, ImportError>;
    /// Returns the first room whose `seq` or counts differ from its rows.
    async fn first_wrong_room(&mut self, rooms: &[Uuid]) -> Result<Option<Uuid>, ImportError>;
}
