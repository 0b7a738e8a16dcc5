//! Why the server, or a command that works on its database, can't start. Each message says what, where, and what to do.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use chatsphere_net::listener::TlsError;
use chatsphere_store::OpenError;

use crate::config::{ConfigError, Settings};
use crate::data_dir::DataDirError;
use crate::lock::{LockError, database_file};
use crate::ownership::{self, Unsafe};
use crate::secrets::{Secrets, SecretsError};

/// Why it can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `NATS_URL` is set, and the database is a file of this machine.
    #[error(
        "NATS_URL makes this node one of a cluster, but its database is SQLite, which nodes can't share\n\
         set DATABASE_URL to the PostgreSQL database of the cluster, or unset NATS_URL"
    )]
    ClusterNeedsPostgres,
    /// NATS can't be used at all; its being away is no error.
    #[error("NATS can't be used: {0}\ncheck nats_credentials, nats_tls_ca, nats_tls_cert and nats_tls_key")]
    Nats(#[from] chatsphere_realtime::InvalidNats),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Another server runs here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Files belong to others, or can be changed by them.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// This process may not use the database's files.
    #[error("{url} can't be used: {reason}")]
    NotAllowed {
        /// Which.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A restore was cut off between putting the old files aside and the new one in place.
    #[error(
        "a restore was cut off here: {mark} is left of it\n\
         run `chatsphere restore FILE` again; what was there before is kept under names with .before-restore- in them"
    )]
    HalfRestored {
        /// The file that says so.
        mark: String,
    },
    /// It was told to stop before it had started.
    #[error("told to stop before the start was done")]
    Stopped,
    /// There are no secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database can't be opened.
    #[error("{error}{hint}")]
    Database {
        /// Why.
        error: OpenError,
        /// What else helps here.
        hint: String,
    },
    /// The database was opened, and failed then.
    #[error("the database failed at the start: {0}")]
    Store(#[from] chatsphere_core::Error),
    /// The certificate can't be used.
    #[error("{error}{}\ncheck tls_cert and tls_key", because(.error))]
    Tls {
        /// Why.
        error: TlsError,
    },
    /// The address can't be listened on.
    #[error("can't listen on {addr}: {source}\n{}", help(.addr, .source))]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The machine refuses something that every process needs.
    #[error("this machine does not let the server run: {0}")]
    Machine(io::Error),
}

impl StartError {
    /// Adds what the store can't know: where this node's secrets come from.
    pub(crate) fn database(error: OpenError, secrets: Option<&Secrets>, settings: &Settings) -> Self {
        if matches!(error, OpenError::FileReadOnly { .. } | OpenError::Away { .. } | OpenError::Failed { .. })
            && let Some(reason) = denied(settings)
        {
            return Self::NotAllowed { url: settings.database().to_string(), reason };
        }
        let hint = match (&error, secrets.and_then(|secrets| secrets.kept_in.as_ref())) {
            (OpenError::OtherSecrets { .. }, Some(file)) => format!(
                "\nthis node's own secrets are those in {}; where several nodes share a database, set JWT_SECRET and \
                 JWT_API_SECRET to the same values on all of them",
                file.display()
            ),
            _ => String::new(),
        };
        Self::Database { error, hint }
    }

    /// What the process answers to its caller: 2 if the way it was called or configured is wrong, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::ClusterNeedsPostgres | Self::Secrets(SecretsError::ClusterNeedsSecrets { .. }) => 2,
            _ => 1,
        }
    }
}

/// Which of the database's files this process may not use.
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
