//! What an import tells.

use std::ops::AddAssign;

use uuid::Uuid;

use crate::error::OpenError;

/// What became of the rows of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Were added.
    pub added: u64,
    /// Were there already.
    pub present: u64,
    /// Were left out: their user is, or the membership has ended since it was taken over.
    pub skipped: u64,
}

impl Tally {
    /// All of them.
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

/// What an import did.
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
    /// Tokens that were not taken over: none ever is.
    pub tokens_left: u64,
}

/// What an import is at.
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

/// Whose id was no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// A user's.
    User,
    /// A room's.
    Room,
    /// A message's.
    Message,
}

/// Receives what an import meets.
pub trait ImportObserver: Send {
    /// How far it is, after each transaction.
    fn progress(&mut self, stage: Stage, done: u64, total: u64);
    /// An id is no UUID, and this is the one that stands for it.
    fn derived(&mut self, kind: Derived, old: &str, new: Uuid);
    /// A user's name is taken. It is renamed or left out.
    fn name_taken(&mut self, name: &str, id: &str, renamed: Option<&str>);
}

/// Why an import ended early. What was added stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The first version knew PostgreSQL alone.
    #[error("the Node.js version's database is PostgreSQL\nname it by its URL: postgresql://user:password@host:5432/database")]
    NotPostgres,
    /// The first version's database can't be read.
    #[error(
        "the Node.js version's database at {url} can't be read: {reason}\nwhat was taken over stays; the same command goes on"
    )]
    Source {
        /// Which, without its password.
        url: String,
        /// What it said.
        reason: String,
    },
    /// It is another program's.
    #[error(
        "{url} is not the Node.js version's database: there is no table \"{table}\" in its schema\n\
         check the URL; another schema is named with ?schema=…"
    )]
    NotFirstVersion {
        /// Which, without its password.
        url: String,
        /// What is missing.
        table: &'static str,
    },
    /// The database that is to take it can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database that is to take it failed.
    #[error("the database failed: {0}\nwhat was taken over stays; the same command goes on")]
    Target(String),
    /// Nobody has the owner's name or id.
    #[error("there is no user {0:?} who could own the rooms, neither here nor there\n--owner takes a username or an id")]
    NoSuchOwner(String),
    /// The owner's name is taken by another user, so the owner was left out.
    #[error(
        "the user {0:?} who was to own the rooms was left out, since its name is taken\nuse --rename, or name another --owner"
    )]
    OwnerLeftOut(String),
    /// All names that were tried are taken.
    #[error("no free name was found for the user {0:?}\nrename it in the old database")]
    NoFreeName(String),
    /// The snapshot held another number of rows than it told.
    #[error("of {found} {what} only {seen} were seen\nrun the same command again; nothing is taken over twice")]
    Incomplete {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many came.
        seen: u64,
    },
    /// A room's counts don't agree with its contents.
    #[error("the counts of the room {0} do not agree with what is in it; this is a fault, please report it")]
    WrongCounts(Uuid),
}
