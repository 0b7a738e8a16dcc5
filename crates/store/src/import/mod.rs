//! Imports the database of the Node.js version.
//!
//! The source is read in one snapshot and never written to. Rows whose ids are in the target already are skipped, so the same
//! import may be run again. It then continues after an interruption, and appends to each room the messages that the source got
//! since.

mod ids;
mod names;
mod report;
mod target;

use std::collections::HashSet;

use chatsphere_core::UserId;
use futures_util::TryStreamExt;
use uuid::Uuid;

pub use self::ids::derived_id;
pub use self::report::{Derived, ImportError, ImportObserver, ImportReport, Stage, Tally};
pub(crate) use self::target::{MemberIn, MessageIn, RoomIn, Target, UserIn};

use crate::fingerprints::KeyFingerprints;
use crate::postgres::{PostgresTarget, Source};
use crate::sqlite::SqliteTarget;
use crate::url::{DatabaseUrl, Kind};

/// Users or rooms that one transaction adds.
const ROWS: usize = 1_000;
/// Memberships that one transaction adds. Each of them reads the events of its room.
const MEMBERS: usize = 5_000;
/// Messages that one transaction adds.
const MESSAGES: usize = 4_000;
/// Bytes of contents that one transaction adds. A single message may be larger.
const BYTES: usize = 4 * 1024 * 1024;

/// What to import, and how.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The Node.js version's database. A standby is enough.
    pub source: DatabaseUrl,
    /// The target. Its tables are created if they do not exist.
    pub target: DatabaseUrl,
    /// The fingerprints of this installation's keys.
    pub keys: KeyFingerprints,
    /// The name or id of the user who becomes the owner of every room. Without it, each room's owner is its first author.
    pub owner: Option<String>,
    /// The owner of rooms without members and messages.
    pub last_resort: UserId,
    /// Whether roles are kept. Otherwise everybody becomes a MEMBER.
    pub keep_roles: bool,
    /// Whether a user whose name is taken gets another name. Otherwise the user and its messages are skipped.
    pub rename: bool,
}

/// Imports users, rooms, memberships and messages, in transactions of bounded size, and compares the counts at the end. With
/// SQLite no server may run meanwhile; with PostgreSQL servers may.
///
/// # Errors
/// [`ImportError`]. Rows that were added stay, and the same import continues from there.
pub async fn import_nodejs(options: &ImportOptions, observer: &mut dyn ImportObserver) -> Result<ImportReport, ImportError> {
    let Kind::Postgres(location) = options.source.kind() else { return Err(ImportError::NotPostgres) };
    let source = Source::open(location, &options.source.to_string()).await?;
    match options.target.kind() {
        Kind::Sqlite(path) => {
            let target = SqliteTarget::open(path, &options.target.to_string(), &options.keys)?;
            Import { source, target, options, observer, report: ImportReport::default() }.run().await
        }
        Kind::Postgres(location) => {
            let target = PostgresTarget::open(location, &options.target.to_string(), &options.keys).await?;
            Import { source, target, options, observer, report: ImportReport::default() }.run().await
        }
    }
}

/// Checks that [`import_nodejs`] can read this database.
///
/// # Errors
/// [`ImportError`].
pub async fn check_nodejs(source: &DatabaseUrl) -> Result<(), ImportError> {
    let Kind::Postgres(location) = source.kind() else { return Err(ImportError::NotPostgres) };
    Source::open(location, &source.to_string()).await.map(drop)
}

struct Import<'a, T> {
    source: Source,
    target: T,
    options: &'a ImportOptions,
    observer: &'a mut dyn ImportObserver,
    report: ImportReport,
}

impl<T: Target> Import<'_, T> {
    async fn run(mut self) -> Result<ImportReport, ImportError> {
        let counts = self.source.counts().await?;
        self.report.tokens_left = counts.tokens;
        self.check_owner().await?;
        let left_out = self.users(counts.users).await?;
        let owner = self.owner().await?;
        self.rooms(counts.rooms, owner, &left_out).await?;
        self.members(counts.members).await?;
        self.messages(counts.messages).await?;
        self.check(counts.rooms).await?;
        for (what, tally, found) in [
            ("users", self.report.users, counts.users),
            ("rooms", self.report.rooms, counts.rooms),
            ("members", self.report.members, counts.members),
            ("messages", self.report.messages, counts.messages),
        ] {
            if tally.seen() != found {
                return Err(ImportError::Incomplete { what, found, seen: tally.seen() });
            }
        }
        Ok(self.report)
    }

    /// Checks that the owner exists, before anything is written.
    async fn check_owner(&mut self) -> Result<(), ImportError> {
        let Some(owner) = &self.options.owner else { return Ok(()) };
        if self.target.user_named(owner, ids::id_of(owner).0).await?.is_some() || self.source.has_user(owner).await? {
            return Ok(());
        }
        Err(ImportError::NoSuchOwner(owner.clone()))
    }

    async fn owner(&mut self) -> Result<Option<Uuid>, ImportError> {
        let Some(owner) = &self.options.owner else { return Ok(None) };
        match self.target.user_named(owner, ids::id_of(owner).0).await? {
            Some(id) => Ok(Some(id)),
            // The source has the owner, and the owner was skipped because its name is taken.
            None => Err(ImportError::OwnerLeftOut(owner.clone())),
        }
    }

    fn id(&mut self, kind: Derived, text: &str) -> Uuid {
        let (id, derived) = ids::id_of(text);
        if derived {
            self.observer.derived(kind, text, id);
        }
        id
    }

    /// Adds the users. Returns the source's ids of the skipped ones, whose names are taken.
    async fn users(&mut self, total: u64) -> Result<Vec<String>, ImportError> {
        let now = ids::now();
        let mut taken: Vec<(String, UserIn)> = Vec::new();
        let rows = self.source.users().await?;
        let mut rows = std::pin::pin!(rows);
        let mut more = true;
        while more {
            let mut chunk = Vec::with_capacity(ROWS);
            while chunk.len() < ROWS {
                let Some(row) = rows.try_next().await.map_err(|error| self.source.failed(&error))? else {
                    more = false;
                    break;
                };
                let found = self.source.user(&row)?;
                let role = if self.options.keep_roles { found.role } else { chatsphere_core::Role::Member };
                let at = found.first_message.unwrap_or(now);
                let id = self.id(Derived::User, &found.id);
                chunk.push((found.id, UserIn { id, username: found.username, role, at }));
            }
            let ids: Vec<Uuid> = chunk.iter().map(|(_, user)| user.id).collect();
            let names: Vec<String> = chunk.iter().map(|(_, user)| user.username.clone()).collect();
            let (known, names) = (self.target.known_users(&ids).await?, self.target.names_taken(&names).await?);
            let mut new = Vec::new();
            let mut seen = HashSet::new();
            for (old, user) in chunk {
                if known.contains(&user.id) || !seen.insert(user.id) {
                    self.report.users.present += 1;
                } else if names.contains(&user.username) {
                    taken.push((old, user));
                } else {
                    new.push(user);
                }
            }
            self.report.users.added += self.target.add_users(&new).await?;
            self.observer.progress(Stage::Users, self.report.users.seen(), total);
        }
        let mut left_out = Vec::new();
        for (old, mut user) in taken {
            let renamed = if self.options.rename { Some(self.free_name(&user.username).await?) } else { None };
            self.observer.name_taken(&user.username, &old, renamed.as_deref());
            if let Some(name) = renamed {
                user.username = name;
                self.report.users.added += self.target.add_users(&[user]).await?;
            } else {
                self.report.users.skipped += 1;
                left_out.push(old);
            }
        }
        self.observer.progress(Stage::Users, self.report.users.seen(), total);
        Ok(left_out)
    }

    async fn free_name(&mut self, name: &str) -> Result<String, ImportError> {
        let mut candidates = names::candidates(name);
        loop {
            let Some(candidate) = candidates.next() else { return Err(ImportError::NoFreeName(name.to_owned())) };
            let taken = !self.target.names_taken(std::slice::from_ref(&candidate)).await?.is_empty();
            if !taken && !self.source.has_username(&candidate).await? {
                return Ok(candidate);
            }
        }
    }

    async fn rooms(&mut self, total: u64, owner: Option<Uuid>, left_out: &[String]) -> Result<(), ImportError> {
        let rows = self.source.rooms(left_out).await?;
        let mut rows = std::pin::pin!(rows);
        let mut more = true;
        while more {
            let mut chunk = Vec::with_capacity(ROWS);
            while chunk.len() < ROWS {
                let Some(row) = rows.try_next().await.map_err(|error| self.source.failed(&error))? else {
                    more = false;
                    break;
                };
                let found = self.source.room(&row)?;
                let id = self.id(Derived::Room, &found.id);
                let first = found.first_author.or(found.first_member).map(|user| ids::id_of(&user).0);
                let owner = owner.or(first).unwrap_or(*self.options.last_resort.as_uuid());
                chunk.push(RoomIn { id, name: found.name, owner, created_at: found.created_at, updated_at: found.updated_at });
            }
            self.report.rooms += self.target.add_rooms(&chunk).await?;
            self.observer.progress(Stage::Rooms, self.report.rooms.seen(), total);
        }
        Ok(())
    }

    async fn members(&mut self, total: u64) -> Result<(), ImportError> {
        let rows = self.source.members().await?;
        let mut rows = std::pin::pin!(rows);
        let mut more = true;
        while more {
            let mut chunk = Vec::with_capacity(MEMBERS);
            while chunk.len() < MEMBERS {
                let Some(row) = rows.try_next().await.map_err(|error| self.source.failed(&error))? else {
                    more = false;
                    break;
                };
                let (room, user) = self.source.member(&row)?;
                chunk.push(MemberIn { room: ids::id_of(&room).0, user: ids::id_of(&user).0 });
            }
            self.report.members += self.target.add_members(&chunk).await?;
            self.observer.progress(Stage::Members, self.report.members.seen(), total);
        }
        Ok(())
    }

    async fn messages(&mut self, total: u64) -> Result<(), ImportError> {
        let rows = self.source.messages().await?;
        let mut rows = std::pin::pin!(rows);
        let mut more = true;
        while more {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while chunk.len() < MESSAGES && bytes < BYTES {
                let Some(row) = rows.try_next().await.map_err(|error| self.source.failed(&error))? else {
                    more = false;
                    break;
                };
                let found = self.source.message(&row)?;
                bytes += found.content.len();
                let id = self.id(Derived::Message, &found.id);
                chunk.push(MessageIn {
                    id,
                    room: ids::id_of(&found.room).0,
                    author: ids::id_of(&found.author).0,
                    content: found.content,
                    created_at: found.created_at,
                    updated_at: found.updated_at,
                });
            }
            self.report.messages += self.target.add_messages(&chunk).await?;
            self.observer.progress(Stage::Messages, self.report.messages.seen(), total);
        }
        Ok(())
    }

    /// Counts the rows of the target's rooms, and compares them with the counts that the rooms store.
    async fn check(&mut self, total: u64) -> Result<(), ImportError> {
        let rows = self.source.room_ids().await?;
        let mut rows = std::pin::pin!(rows);
        let (mut done, mut more) = (0, true);
        while more {
            let mut chunk = Vec::with_capacity(ROWS);
            while chunk.len() < ROWS {
                let Some(row) = rows.try_next().await.map_err(|error| self.source.failed(&error))? else {
                    more = false;
                    break;
                };
                chunk.push(ids::id_of(&self.source.text(&row, 0)?).0);
            }
            if let Some(room) = self.target.first_wrong_room(&chunk).await? {
                return Err(ImportError::WrongCounts(room));
            }
            done += chunk.len() as u64;
            self.observer.progress(Stage::Checking, done, total);
        }
        Ok(())
    }
}
