//! The meaning of PostgreSQL's errors.

use std::fmt;

use chatsphere_core::{Error as CoreError, Unavailable};
use deadpool::managed::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::error::OpenError;
use crate::health::Health;
use crate::write::failure::Failure;

/// The cause of a failure.
#[derive(Debug)]
pub(crate) enum Cause {
    /// The server rejected a statement, or the connection broke.
    Driver(Error),
    /// The pool gave no connection.
    Pool(String),
    /// The server did not answer in time.
    Silent,
    /// The server is reachable, and does not accept writes.
    ReadOnly(ReadOnly),
    /// A row that this program can't have written.
    Foreign(&'static str),
}

/// Why a server does not accept writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOnly {
    /// The server is a standby.
    Standby,
    /// `default_transaction_read_only` is on for the server, the database or the user.
    ByDefault,
    /// The database user may not write.
    NotAllowed,
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standby => "the server is a standby, which takes no writes (pg_is_in_recovery)",
            Self::ByDefault => "the server takes no writes: default_transaction_read_only is on",
            Self::NotAllowed => "the user may not write to the tables",
        })
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl From<PoolError<Cause>> for Cause {
    fn from(error: PoolError<Cause>) -> Self {
        match error {
            PoolError::Backend(cause) => cause,
            other => Self::Pool(other.to_string()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => f.write_str(&told(error)),
            Self::Pool(reason) => f.write_str(reason),
            Self::Silent => f.write_str("the server did not answer in time"),
            Self::ReadOnly(why) => why.fmt(f),
            Self::Foreign(what) => write!(f, "a row holds {what}"),
        }
    }
}

/// Returns the error's text without the server's `DETAIL`, which quotes values.
pub(super) fn told(error: &Error) -> String {
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
            Self::Driver(error) => meaning(error),
            Self::Pool(_) | Self::Silent | Self::ReadOnly(_) => Failure::Unavailable,
            Self::Foreign(_) => Failure::Rejected,
        }
    }

    /// Logs the failure, and returns its meaning for a write.
    pub(super) fn failure(&self, health: &Health) -> Failure {
        let failure = self.meaning();
        match failure {
            Failure::Unavailable | Failure::DiskFull | Failure::OutcomeUnknown => health.away(self),
            Failure::Conflict | Failure::UniqueViolation => health.crossed(self),
            Failure::Rejected => health.failed(self),
        }
        failure
    }

    /// The same for a commit. If the server rejected the commit, it was rolled back; after any other failure the outcome is
    /// unknown.
    pub(super) fn commit_failure(&self, health: &Health) -> Failure {
        if let Self::Driver(error) = self
            && error.as_db_error().and_then(DbError::parsed_severity) == Some(Severity::Error)
        {
            return self.failure(health);
        }
        health.away(self);
        Failure::OutcomeUnknown
    }

    /// Logs the failure, and returns its meaning for a read.
    pub(super) fn read_error(&self, health: &Health) -> CoreError {
        match self.failure(health) {
            Failure::Rejected => CoreError::Internal,
            _ => Unavailable::StoreAway.into(),
        }
    }

    /// Returns its meaning for opening the database.
    pub(super) fn open_error(&self, url: &str) -> OpenError {
        let (url, reason) = (url.to_owned(), self.to_string());
        if matches!(self, Self::ReadOnly(_)) || self.code().is_some_and(is_read_only) {
            return OpenError::ReadOnly { url, reason };
        }
        // The server was reached, so its own error is reported, although a running server would retry after this one.
        if self.code().is_some_and(|code| ["0A", "25", "26", "42", "55"].iter().any(|class| code.code().starts_with(class))) {
            return OpenError::Failed { url, reason };
        }
        match self.meaning() {
            Failure::Unavailable => OpenError::Unavailable { url, reason },
            Failure::DiskFull => OpenError::DiskFull { url },
            _ => OpenError::Failed { url, reason },
        }
    }

    fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Driver(error) => error.code(),
            _ => None,
        }
    }
}

fn meaning(error: &Error) -> Failure {
    match error.code() {
        Some(code) => meaning_of(code),
        None if is_ours(error) => Failure::Rejected,
        None => Failure::Unavailable,
    }
}

/// Returns the meaning of a code (PostgreSQL's documentation, appendix A). Errors that are not caused by the statement, but by
/// the state of the server or the session, are [`Failure::Unavailable`]: the session is dropped, and the write is repeated in a
/// new one, perhaps on another server.
fn meaning_of(code: &SqlState) -> Failure {
    match *code {
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => return Failure::Conflict,
        SqlState::UNIQUE_VIOLATION => return Failure::UniqueViolation,
        SqlState::DISK_FULL => return Failure::DiskFull,
        // This code only says that an earlier statement failed, whose error counts.
        SqlState::IN_FAILED_SQL_TRANSACTION => return Failure::Rejected,
        // An administrator revoked the user's right to write, for example to close the database, and will grant it again.
        SqlState::INSUFFICIENT_PRIVILEGE => return Failure::Unavailable,
        // The session lost a prepared statement, or has one of another session. This is caused by a connection pooler.
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => return Failure::Unavailable,
        _ => {}
    }
    let away = [
        // Connection exceptions.
        "08", //
        // Feature not supported: a standby answers so to a change, and a session to a statement whose tables were changed.
        "0A", //
        // Invalid transaction state: read-only, idle for too long, over its time-out.
        "25", //
        // Invalid authorization, for example while a password is changed.
        "28", //
        // Invalid catalog name: the database does not exist.
        "3D", //
        // Insufficient resources.
        "53", //
        // Object not in prerequisite state: locked by a writer that hangs, or in recovery.
        "55", //
        // Operator intervention: a shutdown, a cancelled statement, a conflict with recovery.
        "57", //
        // System errors: input and output.
        "58",
    ];
    match away.iter().any(|class| code.code().starts_with(class)) {
        true => Failure::Unavailable,
        false => Failure::Rejected,
    }
}

/// Whether this code means that the server does not accept writes now.
fn is_read_only(code: &SqlState) -> bool {
    *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// Whether the error is that a value does not fit its column. Other errors without a code are those of the connection. The
/// driver's kinds of errors can be told apart only by their texts.
fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "invalid column", "expected", "query returned"]
        .iter()
        .any(|words| text.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_servers_state_mean_unavailable() {
        for code in [
            "25006", "0A000", "25P03", "25P04", "55000", "55P03", "57P01", "57P02", "57P03", "57014", "08006", "53300",
            "53200", "58030", "42501", "26000", "42P05", "3D000", "28P01",
        ] {
            assert_eq!(meaning_of(&SqlState::from_code(code)), Failure::Unavailable, "{code}");
        }
        for (code, failure) in [
            ("40001", Failure::Conflict),
            ("40P01", Failure::Conflict),
            ("23505", Failure::UniqueViolation),
            ("53100", Failure::DiskFull),
            ("22021", Failure::Rejected),
            ("42P01", Failure::Rejected),
            ("25P02", Failure::Rejected),
            ("XX000", Failure::Rejected),
        ] {
            assert_eq!(meaning_of(&SqlState::from_code(code)), failure, "{code}");
        }
    }
}
