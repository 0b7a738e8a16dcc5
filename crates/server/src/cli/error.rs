//! Errors of commands.

use crate::config::ConfigError;
use crate::start_error::StartError;

/// Why a command failed. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An op rejected it.
    #[error(transparent)]
    Refused(#[from] chatsphere_core::Error),
    /// There is no database.
    #[error(
        "there is no database at {0}: this is not where a server has run\n\
         run this in the server's working directory and with its environment, or name its --data-dir (or DATABASE_URL); \
         `chatsphere serve` \
         makes a new one"
    )]
    NoDatabase(String),
    /// The secrets are neither in the settings nor in the data directory.
    #[error(
        "the secrets are not here: {0} has no secrets.toml, and JWT_SECRET and JWT_API_SECRET are not set\n\
         run this in the server's working directory and with its environment, or name its --data-dir"
    )]
    NoSecrets(String),
    /// The backup cannot be written there, or the file is not a backup.
    #[error("{0}")]
    BackupFile(String),
    /// A file operation failed.
    #[error("{path} failed: {error}")]
    File {
        /// The file.
        path: String,
        /// The error.
        error: std::io::Error,
    },
    /// The database could not be copied.
    #[error(transparent)]
    Copy(#[from] chatsphere_store::CopyError),
    /// The backup's tokens were signed with other secrets.
    #[error(
        "the tokens in {backup} were signed with other secrets than {whose}; nothing was changed\n\
         give it the secrets.toml that was in use when it was taken: put it at {beside}, or name it with --secrets; \
         if it is lost for good, \
         --forget-secrets goes on without, and every token given out is refused then"
    )]
    SecretsDontFit {
        /// The backup.
        backup: String,
        /// The secrets that were compared.
        whose: &'static str,
        /// Where the backup's secrets are expected.
        beside: String,
    },
    /// The restore failed after the first file was moved.
    #[error("the restore of {path} was cut off: {error}\nrun the same command again; until then no server starts on it")]
    RestoreCutOff {
        /// The database.
        path: String,
        /// The error.
        error: std::io::Error,
    },
    /// PostgreSQL is backed up with its own tools.
    #[error(
        "no backup was made: the database is PostgreSQL, which has its own tool. Run:\n  {0}\n\
         with the password in PGPASSWORD or ~/.pgpass, and keep JWT_SECRET and JWT_API_SECRET (or secrets.toml) with the file"
    )]
    UsePgDump(String),
    /// PostgreSQL is restored with its own tools.
    #[error(
        "nothing was restored: the database is PostgreSQL, which has its own tool. Stop every server on it, then run:\n  \
         pg_restore --clean --if-exists --no-owner --dbname='{0}' FILE\n  chatsphere epoch renew\n\
         with the password in PGPASSWORD or ~/.pgpass, and with the secrets that were kept with the file"
    )]
    UsePgRestore(String),
    /// No user has this name.
    #[error("there is no user {0:?}; `chatsphere user list` shows all")]
    NoSuchUser(String),
    /// The first user is created by other commands.
    #[error("there are no users yet\nstart the server once with `chatsphere serve`")]
    NoUsers,
    /// The command ran and found problems, which it has reported.
    #[error("{0}")]
    NotInOrder(String),
    /// The server stopped before all writes were confirmed.
    #[error("the server stopped before the database had taken all that was waiting; what was not acknowledged may be lost")]
    NotStopped,
    /// A task of the server panicked.
    #[error("a part of the server has broken, and it was stopped; start it again, and report the panic in its log")]
    Broken,
    /// A second signal arrived during the shutdown.
    #[error("stopped at once, at the second signal; what was not acknowledged may be lost")]
    Interrupted,
    /// Standard output did not accept everything.
    #[error("it was carried out, but the answer could not be written: {0}")]
    NotAnswered(String),
    /// The old data cannot be imported.
    #[error(transparent)]
    Import(#[from] chatsphere_store::ImportError),
    /// A URL on the command line is invalid.
    #[error(transparent)]
    Url(chatsphere_store::InvalidUrl),
    /// The output could not be serialised.
    #[error("this can't be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Files could not be written.
    #[error("{path} can't be written: {source}\nname a directory that you may write to")]
    NotWritten {
        /// The directory.
        path: String,
        /// The error.
        source: std::io::Error,
    },
    /// The server on this machine is unhealthy.
    #[error("the server at {addr} {reason}")]
    NotHealthy {
        /// The address of the server.
        addr: std::net::SocketAddr,
        /// Its answer, or why there is none.
        reason: String,
    },
    /// The system reported an error.
    #[error("{0}")]
    Machine(#[from] std::io::Error),
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl CliError {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(error) => error.exit_code(),
            Self::Url(_) => 2,
            _ => 1,
        }
    }
}
