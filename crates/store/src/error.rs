//! The errors of opening a database.

use crate::fingerprints::SigningKey;

/// Why a database can't be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database can't be reached, or rejects this program's credentials.
    #[error("the database at {url} can't be reached: {reason}\ncheck DATABASE_URL, and that the database runs")]
    Unavailable {
        /// The database's URL, without the password.
        url: String,
        /// The driver's error.
        reason: String,
    },
    /// The server does not accept writes: it is a standby, or was made read-only.
    #[error(
        "the database at {url} takes no writes: {reason}\n\
         name the primary in DATABASE_URL; or name all servers, and the one that takes writes is found: \
         postgresql://user:password@db1,db2/database?target_session_attrs=read-write"
    )]
    ReadOnly {
        /// The database's URL, without the password.
        url: String,
        /// Why it does not.
        reason: String,
    },
    /// The database is that of the Node.js version of ChatSphere.
    #[error(
        "the database at {url} is that of ChatSphere's Node.js version: it has the table \"{table}\". Nothing was changed\n\
         make an empty database for this version and name it in DATABASE_URL (or unset that for SQLite), \
         then take the data over: \
         chatsphere import nodejs <the URL of the old database>. See docs/from-nodejs.md"
    )]
    FirstVersion {
        /// The database's URL, without the password.
        url: String,
        /// The table by which it was recognized.
        table: String,
    },
    /// A newer version of the program has changed the tables.
    #[error(
        "the database has the tables of a newer version ({database}) than this program knows ({program})\n\
         start the newer version of chatsphere, or restore a backup from before the upgrade"
    )]
    NewerVersion {
        /// The database's schema version.
        database: u32,
        /// The newest schema version that this program knows.
        program: u32,
    },
    /// The database was used with other keys.
    #[error("{}", which.mismatch())]
    OtherSecrets {
        /// The key that differs.
        which: SigningKey,
    },
    /// The database's disk has no space left.
    #[error("no space is left for the database at {url}\nmake space on its disk and start again")]
    DiskFull {
        /// The database's URL, without the password.
        url: String,
    },
    /// The file is not a database, or the database belongs to another program.
    #[error(
        "{url} is not a ChatSphere database: {reason}\ncheck DATABASE_URL; a file or database that is empty or absent is made \
         ready"
    )]
    NotADatabase {
        /// The database's URL, without the password.
        url: String,
        /// What was found.
        reason: String,
    },
    /// The server is older than PostgreSQL 15.
    #[error("the PostgreSQL server has version {found}; ChatSphere needs 15 or newer\nupgrade the server, or use another")]
    TooOldServer {
        /// The server's version, as it reports it.
        found: String,
    },
    /// A certificate for the connection to PostgreSQL can't be read.
    #[error(
        "the certificates for the connection to PostgreSQL can't be used: {reason}\ncheck sslmode and sslrootcert in \
         DATABASE_URL"
    )]
    Certificates {
        /// What is wrong with it.
        reason: String,
    },
    /// A migration failed and was rolled back.
    #[error("bringing the database to version {version} ({name}) failed and was undone: {reason}")]
    Migration {
        /// The schema version to which the migration leads.
        version: u32,
        /// The name of the migration.
        name: &'static str,
        /// The database's error.
        reason: String,
    },
    /// SQLite's file is damaged, or the write-ahead log beside it belongs to another database.
    #[error("the database at {url} is damaged: {reason}\n{}", damaged(.log.as_deref()))]
    Damaged {
        /// The database's URL.
        url: String,
        /// SQLite's error.
        reason: String,
        /// The path of the write-ahead log, if there is one.
        log: Option<String>,
    },
    /// SQLite's file can be read but not written.
    #[error("the database at {url} can't be written: {reason}")]
    FileReadOnly {
        /// The database's URL.
        url: String,
        /// SQLite's error.
        reason: String,
    },
    /// Any other error of the database.
    #[error("the database at {url} failed: {reason}")]
    Failed {
        /// The database's URL, without the password.
        url: String,
        /// The database's error.
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
