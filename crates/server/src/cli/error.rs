//! Why a command failed.

use crate::config::ConfigError;
use crate::start_error::StartError;

/// Why a command failed. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// It couldn't begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The chat refused it.
    #[error(transparent)]
    Refused(#[from] chatsphere_core::Error),
    /// There is nothing to work on.
    #[error(
        "there is no database at {0}: this is not where a server has run\n\
         run this in the server's working directory and with its environment, or name its --data-dir (or DATABASE_URL); `chatsphere serve` \
         makes a new one"
    )]
    NoDatabase(String),
    /// The secrets are neither in the settings nor in the data directory.
    #[error(
        "the secrets are not here: {0} has no secrets.toml, and JWT_SECRET and JWT_API_SECRET are not set\n\
         run this in the server's working directory and with its environment, or name its --data-dir"
    )]
    NoSecrets(String),
    /// A backup can't be made there, or is none.
    #[error("{0}")]
    BackupFile(String),
    /// A file failed.
    #[error("{path} failed: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// No backup was made.
    #[error(transparent)]
    Copy(#[from] chatsphere_store::CopyError),
    /// The backup's tokens were signed with other secrets.
    #[error(
        "the tokens in {backup} were signed with other secrets than {whose}; nothing was changed\n\
         give it the secrets.toml that was in use when it was taken: put it at {beside}, or name it with --secrets; if it is lost for good, \
         --forget-secrets goes on without, and every token given out is refused then"
    )]
    SecretsDontFit {
        /// Which backup.
        backup: String,
        /// Which secrets were compared.
        whose: &'static str,
        /// Where they are looked for.
        beside: String,
    },
    /// It failed after the first file was moved.
    #[error("the restore of {path} was cut off: {error}\nrun the same command again; until then no server starts on it")]
    RestoreCutOff {
        /// The database.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// PostgreSQL is backed up by its own tools.
    #[error(
        "no backup was made: the database is PostgreSQL, which has its own tool. Run:\n  {0}\n\
         with the password in PGPASSWORD or ~/.pgpass, and keep JWT_SECRET and JWT_API_SECRET (or secrets.toml) with the file"
    )]
    UsePgDump(String),
    /// And put back by them.
    #[error(
        "nothing was restored: the database is PostgreSQL, which has its own tool. Stop every server on it, then run:\n  \
         pg_restore --clean --if-exists --no-owner --dbname='{0}' FILE\n  chatsphere epoch renew\n\
         with the password in PGPASSWORD or ~/.pgpass, and with the secrets that were kept with the file"
    )]
    UsePgRestore(String),
    /// No user has this name.
    #[error("there is no user {0:?}; `chatsphere user list` shows all")]
    NoSuchUser(String),
    /// The first user is made by other commands.
    #[error("there are no users yet\nstart the server once with `chatsphere serve`")]
    NoUsers,
    /// It was carried out, and what it looked at is not in order; that has been told.
    #[error("{0}")]
    NotInOrder(String),
    /// The server stopped without knowing that all is on disk.
    #[error("the server stopped before the database had taken all that was waiting; what was not acknowledged may be lost")]
    NotStopped,
    /// A part of the server panicked.
    #[error("a part of the server has broken, and it was stopped; start it again, and report the panic in its log")]
    Broken,
    /// A second signal came while the server stopped.
    #[error("stopped at once, at the second signal; what was not acknowledged may be lost")]
    Interrupted,
    /// Standard output took only a part of what it printed.
    #[error("it was carried out, but the answer could not be written: {0}")]
    NotAnswered(String),
    /// The old data can't be taken over.
    #[error(transparent)]
    Import(#[from] chatsphere_store::ImportError),
    /// A URL on the command line can't be read.
    #[error(transparent)]
    Url(chatsphere_store::InvalidUrl),
    /// What it prints couldn't be made.
    #[error("this can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Files couldn't be written.
    #[error("{path} can't be written: {source}\nname a directory that you may write to")]
    NotWritten {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The server on this machine is not well.
    #[error("the server at {addr} {reason}")]
    NotHealthy {
        /// Where it was asked.
        addr: std::net::SocketAddr,
        /// What it said, or why it said nothing.
        reason: String,
    },
    /// The machine refused something.
    #[error("{0}")]
    Machine(#[from] std::io::Error),
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl CliError {
    /// What the process answers to its caller.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(error) => error.exit_code(),
            Self::Url(_) => 2,
            _ => 1,
        }
    }
}
