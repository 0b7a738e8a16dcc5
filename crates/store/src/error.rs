//! Why a database can't be opened.

use crate::fingerprints::SigningKey;

/// Why a database can't be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It can't be reached, or doesn't let this program in.
    #[error("the database at {url} can't be reached: {reason}\ncheck DATABASE_URL, and that the database runs")]
    Away {
        /// Which, without its password.
        url: String,
        /// What the driver said.
        reason: String,
    },
    /// The server takes no writes: it is a standby, or was made read-only.
    #[error(
        "the database at {url} takes no writes: {reason}\n\
         name the primary in DATABASE_URL; or name all servers, and the one that takes writes is found: \
         postgresql://user:password@db1,db2/database?target_session_attrs=read-write"
    )]
    ReadOnly {
        /// Which, without its password.
        url: String,
        /// Why it takes none.
        reason: String,
    },
    /// The database belongs to the first version of ChatSphere, the one in Node.js.
    #[error(
        "the database at {url} is that of ChatSphere's Node.js version: it has the table \"{table}\". Nothing was changed\n\
         make an empty database for this version and name it in DATABASE_URL (or unset that for SQLite), \
         then take the data over: \
         chatsphere import nodejs <the URL of the old database>. See docs/from-nodejs.md"
    )]
    FirstVersion {
        /// Which, without its password.
        url: String,
        /// The table by which it was recognised.
        table: String,
    },
    /// A newer version of the program changed its tables.
    #[error(
        "the database has the tables of a newer version ({database}) than this program knows ({program})\n\
         start the newer version of chatsphere, or restore a backup from before the upgrade"
    )]
    NewerVersion {
        /// The version of the database's tables.
        database: u32,
        /// The newest version that this program knows.
        program: u32,
    },
    /// The tokens in it were signed with other keys.
    #[error(
        "the tokens in this database were signed with another {which}\n\
         give this node the {which} that the other nodes have; to change it for good, also set {which}_PREVIOUS to the old one"
    )]
    OtherSecrets {
        /// Which key differs.
        which: SigningKey,
    },
    /// No space is left for it.
    #[error("no space is left for the database at {url}\nmake space on its disk and start again")]
    DiskFull {
        /// Which, without its password.
        url: String,
    },
    /// The file is something else, or the database belongs to another program.
    #[error(
        "{url} is not a ChatSphere database: {reason}\ncheck DATABASE_URL; a file or database that is empty or absent is made \
         ready"
    )]
    NotADatabase {
        /// Which, without its password.
        url: String,
        /// What was found instead.
        reason: String,
    },
    /// The server is older than PostgreSQL 15.
    #[error("the PostgreSQL server has version {found}; ChatSphere needs 15 or newer\nupgrade the server, or use another")]
    TooOldServer {
        /// Its version as it tells it.
        found: String,
    },
    /// A certificate for the connection to PostgreSQL can't be read.
    #[error(
        "the certificates for the connection to PostgreSQL can't be used: {reason}\ncheck sslmode and sslrootcert in \
         DATABASE_URL"
    )]
    Certificates {
        /// What is wrong with them.
        reason: String,
    },
    /// Changing the tables failed; nothing of this step was kept.
    #[error("bringing the database to version {version} ({name}) failed and was undone: {reason}")]
    Migration {
        /// The version that was to be reached.
        version: u32,
        /// What the step is called.
        name: &'static str,
        /// What the database said.
        reason: String,
    },
    /// SQLite's file is damaged, or is read together with a log that is not its own.
    #[error("the database at {url} is damaged: {reason}\n{}", damaged(.log.as_deref()))]
    Damaged {
        /// Which.
        url: String,
        /// What SQLite said.
        reason: String,
        /// The write-ahead log beside it, if there is one.
        log: Option<String>,
    },
    /// SQLite's file can be read but not written.
    #[error("the database at {url} can't be written: {reason}")]
    FileReadOnly {
        /// Which.
        url: String,
        /// What SQLite said.
        reason: String,
    },
    /// Anything else that the database said.
    #[error("the database at {url} failed: {reason}")]
    Failed {
        /// Which, without its password.
        url: String,
        /// What it said.
        reason: String,
    },
}

fn damaged(log: Option<&str>) -> String {
    match log {
        Some(log) => format!(
            "beside it lies {log}, which SQLite reads as its newest part. If the database was put back from a copy, that log \
             is another \
             database's: move it away (mv {log} {log}.old) and start again. If not, keep both, and put a backup in place with \
             `chatsphere restore FILE`"
        ),
        None => "keep the file, and put a backup in its place with `chatsphere restore FILE`".to_owned(),
    }
}
