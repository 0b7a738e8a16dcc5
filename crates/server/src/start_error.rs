//! Why the server, or a command on its database, cannot start. Each message names the problem, the place and the remedy.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use chatsphere_net::listener::TlsError;
use chatsphere_store::OpenError;

use crate::config::{ConfigError, Settings};
use crate::data_dir::DataDirError;
use crate::lock::{LockError, database_file};
use crate::ownership::{self, Unsafe};
use crate::secrets::{Secrets, SecretsError};

/// Why the start failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `NATS_URL` is set, but the database is a local file.
    #[error(
        "NATS_URL makes this node one of a cluster, but its database is SQLite, which nodes can't share\n\
         set DATABASE_URL to the PostgreSQL database of the cluster, or unset NATS_URL"
    )]
    ClusterNeedsPostgres,
    /// The NATS configuration is unusable; an unavailable server is no error.
    #[error("NATS can't be used: {0}\ncheck nats_credentials, nats_tls_ca, nats_tls_cert and nats_tls_key")]
    Nats(#[from] chatsphere_realtime::InvalidNats),
    /// The data directory is unusable.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Another server runs here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Files belong to other users, or can be changed by them.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// This process may not access the database's files.
    #[error("{url} can't be used: {reason}")]
    NotAllowed {
        /// The database.
        url: String,
        /// The reason and the remedy.
        reason: String,
    },
    /// A restore was interrupted between moving the old files aside and the new one into place.
    #[error(
        "a restore was cut off here: {mark} is left of it\n\
         run `chatsphere restore FILE` again; what was there before is kept under names with .before-restore- in them"
    )]
    HalfRestored {
        /// The mark file.
        mark: String,
    },
    /// The start was interrupted by a signal.
    #[error("told to stop before the start was done")]
    Stopped,
    /// The secrets are missing or unusable.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database cannot be opened.
    #[error("{error}{hint}")]
    Database {
        /// The error.
        error: OpenError,
        /// A further remedy.
        hint: String,
    },
    /// The database was opened, and failed afterwards.
    #[error("the database failed at the start: {0}")]
    Store(#[from] chatsphere_core::Error),
    /// The certificate is unusable.
    #[error("{error}{}\ncheck tls_cert and tls_key", because(.error))]
    Tls {
        /// The error.
        error: TlsError,
    },
    /// The address is not available.
    #[error("can't listen on {addr}: {source}\n{}", help(.addr, .source))]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The error.
        source: io::Error,
    },
    /// The system refuses something that every process needs.
    #[error("this machine does not let the server run: {0}")]
    Machine(io::Error),
}

impl StartError {
    /// Adds what the store does not know: the source of this node's secrets.
    pub(crate) fn database(error: OpenError, secrets: Option<&Secrets>, settings: &Settings) -> Self {
        if matches!(error, OpenError::FileReadOnly { .. } | OpenError::Unavailable { .. } | OpenError::Failed { .. })
            && let Some(reason) = denied(settings)
        {
            return Self::NotAllowed { url: settings.database().to_string(), reason };
        }
        let hint = match (&error, secrets.and_then(|secrets| secrets.kept_in.as_ref())) {
            (OpenError::OtherSecrets { .. }, Some(file)) => format!(
                "\nthis node's own secrets are those in {}; where several nodes share a database, set JWT_SECRET, \
                 JWT_API_SECRET and CHATSPHERE_CONTENT_KEY to the same values on all of them",
                file.display()
            ),
            _ => String::new(),
        };
        Self::Database { error, hint }
    }

    /// The exit code of the process: 2 for wrong arguments or configuration, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::ClusterNeedsPostgres | Self::Secrets(SecretsError::ClusterNeedsSecrets { .. }) => 2,
            _ => 1,
        }
    }
}

/// The files of the database that this process may not access, if any.
fn denied(settings: &Settings) -> Option<String> {
    let database = database_file(settings.database().sqlite_path()?).ok()?;
    ownership::trouble(&ownership::files_of(&database))
}

fn because(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, |source| format!(": {source}"))
}

fn help(addr: &SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program has this port: stop it, or choose another port with --port (0 picks a free one); \
             `chatsphere doctor` tells which program it is"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            format!("port {} needs more rights than this process has: choose one above 1023 with --port", addr.port())
        }
        ErrorKind::AddrNotAvailable => "this machine does not have that address: choose another with --host".to_owned(),
        _ => "choose another address with --host, or another port with --port".to_owned(),
    }
}
