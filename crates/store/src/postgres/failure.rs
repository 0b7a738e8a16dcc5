//! What an error of PostgreSQL means.

use std::fmt;

use chatsphere_core::{Error as CoreError, Outage};
use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::OpenError;
use crate::health::Health;
use crate::write::failure::Failure;

/// Why something failed.
#[derive(Debug)]
pub(super) enum Cause {
    /// The server refused, or the connection broke.
    Driver(Error),
    /// No connection could be had.
    Pool(PoolError),
    /// No answer came in time.
    Silent,
    /// A row that this program can't have written.
    Foreign(&'static str),
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl From<PoolError> for Cause {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => f.write_str(&told(error)),
            Self::Pool(PoolError::Backend(error)) => f.write_str(&told(error)),
            Self::Pool(PoolError::PostCreateHook(_)) => f.write_str("a new connection could not be set up"),
            Self::Pool(error) => error.fmt(f),
            Self::Silent => f.write_str("the server did not answer in time"),
            Self::Foreign(what) => write!(f, "a row holds {what}"),
        }
    }
}

/// The error's text without the server's `DETAIL`, which quotes values.
fn told(error: &Error) -> String {
    match error.as_db_error() {
        Some(told) => format!("{}: {} (SQLSTATE {})", told.severity(), told.message(), told.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

impl Cause {
    pub(super) fn meaning(&self) -> Failure {
        match self {
            Self::Driver(error) | Self::Pool(PoolError::Backend(error)) => meaning(error),
            Self::Pool(_) | Self::Silent => Failure::Away,
            Self::Foreign(_) => Failure::Rejected,
        }
    }

    /// Tells of it, and what it means for a write.
    pub(super) fn failure(&self, health: &Health) -> Failure {
        let failure = self.meaning();
        match failure {
            Failure::Away | Failure::DiskFull | Failure::OutcomeUnknown => health.away(self),
            Failure::Crossed | Failure::Taken => health.crossed(self),
            Failure::Rejected => health.failed(self),
        }
        failure
    }

    /// The same for a commit. One that the server refused was rolled back; anything else leaves it open.
    pub(super) fn commit_failure(&self, health: &Health) -> Failure {
        if let Self::Driver(error) = self
            && error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Error)
        {
            return self.failure(health);
        }
        health.away(self);
        Failure::OutcomeUnknown
    }

    /// Tells of it, and what it means for a read.
    pub(super) fn read_error(&self, health: &Health) -> CoreError {
        match self.failure(health) {
            Failure::Rejected => CoreError::Internal,
            _ => Outage::StoreAway.into(),
        }
    }

    /// What it means for opening the database.
    pub(super) fn open_error(&self, url: &str) -> OpenError {
        let (url, reason) = (url.to_owned(), self.to_string());
        match self.meaning() {
            Failure::Away => OpenError::Away { url, reason },
            Failure::DiskFull => OpenError::DiskFull { url },
            _ => OpenError::Failed { url, reason },
        }
    }
}

fn meaning(error: &Error) -> Failure {
    let Some(code) = error.code() else {
        return if is_ours(error) { Failure::Rejected } else { Failure::Away };
    };
    match *code {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Failure::Crossed,
        SqlState::UNIQUE_VIOLATION => Failure::Taken,
        SqlState::DISK_FULL => Failure::DiskFull,
        // A standby that was not promoted yet; the lock of a writer that hangs.
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::LOCK_NOT_AVAILABLE | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
            Failure::Away
        }
        // Connections, authorization (a password that is being changed), catalog name, resources, operator, system.
        _ if ["08", "28", "3D", "53", "57", "58"].iter().any(|class| code.code().starts_with(class)) => Failure::Away,
        _ => Failure::Rejected,
    }
}

/// Whether a value did not fit its column: all else without a code is the connection's doing. The driver lets its kinds be
/// told apart by their words alone.
fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "invalid column", "expected", "query returned"]
        .iter()
        .any(|words| text.starts_with(words))
}
