//! The results, progress and errors of an import.

use std::ops::AddAssign;

use uuid::Uuid;

use crate::error::OpenError;

/// The numbers of rows of one table, by their treatment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that were added.
    pub added: u64,
    /// Rows that existed already.
    pub present: u64,
    /// Rows that were skipped: their user was, or the membership has ended since it was imported.
    pub skipped: u64,
}

impl Tally {
    /// Returns the number of all rows.
    pub const fn seen(&self) -> u64 {
        self.added + self.present + self.skipped
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.added += more.added;
        self.present += more.present;
        self.skipped += more.skipped;
    }
}

/// The result of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Users.
    pub users: Tally,
    /// Rooms.
    pub rooms: Tally,
    /// Memberships.
    pub members: Tally,
    /// Messages.
    pub messages: Tally,
    /// The number of tokens in the source. None is imported.
    pub tokens_left: u64,
}

/// The stages of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Adding users.
    Users,
    /// Adding rooms.
    Rooms,
    /// Adding memberships.
    Members,
    /// Adding messages.
    Messages,
    /// Comparing counts, room by room.
    Checking,
}

/// The kinds of rows with derived ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// A user.
    User,
    /// A room.
    Room,
    /// A message.
    Message,
}

/// Receives the progress and the findings of an import.
pub trait ImportObserver: Send {
    /// Called after each transaction: `done` rows of `total` are imported.
    fn progress(&mut self, stage: Stage, done: u64, total: u64);
    /// Called for an id that is not a UUID, with the UUID that replaces it.
    fn derived(&mut self, kind: Derived, old: &str, new: Uuid);
    /// Called for a user whose name is taken. `renamed` is the new name; `None` if the user is skipped.
    fn name_taken(&mut self, name: &str, id: &str, renamed: Option<&str>);
}

/// Why an import failed. Rows that were added stay.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source is not PostgreSQL, the only database that the Node.js version supported.
    #[error("the Node.js version's database is PostgreSQL\nname it by its URL: postgresql://user:password@host:5432/database")]
    NotPostgres,
    /// The source can't be read.
    #[error(
        "the Node.js version's database at {url} can't be read: {reason}\nwhat was taken over stays; the same command goes on"
    )]
    Source {
        /// The database's URL, without the password.
        url: String,
        /// The database's error.
        reason: String,
    },
    /// The source is a database of another program.
    #[error(
        "{url} is not the Node.js version's database: there is no table \"{table}\" in its schema\n\
         check the URL; another schema is named with ?schema=…"
    )]
    NotFirstVersion {
        /// The database's URL, without the password.
        url: String,
        /// The missing table.
        table: &'static str,
    },
    /// The target can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target failed.
    #[error("the database failed: {0}\nwhat was taken over stays; the same command goes on")]
    Target(String),
    /// No user has the owner's name or id.
    #[error("there is no user {0:?} who could own the rooms, neither here nor there\n--owner takes a username or an id")]
    NoSuchOwner(String),
    /// The owner was skipped, because another user has the name.
    #[error(
        "the user {0:?} who was to own the rooms was left out, since its name is taken\nuse --rename, or name another --owner"
    )]
    OwnerLeftOut(String),
    /// All names that were tried are taken.
    #[error("no free name was found for the user {0:?}\nrename it in the old database")]
    NoFreeName(String),
    /// The number of rows that were read differs from the number that the source counted.
    #[error("of {found} {what} only {seen} were seen\nrun the same command again; nothing is taken over twice")]
    Incomplete {
        /// The kind of rows.
        what: &'static str,
        /// The number of rows that the source counted.
        found: u64,
        /// The number of rows that were read.
        seen: u64,
    },
    /// The counts of a room differ from the numbers of its rows.
    #[error("the counts of the room {0} do not agree with what is in it; this is a fault, please report it")]
    WrongCounts(Uuid),
}
