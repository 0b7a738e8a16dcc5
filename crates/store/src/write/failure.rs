//! The failures of a database, as far as they concern the writer.

use chatsphere_core::{Error, Forbidden, TokenRefusal, Unavailable};

/// A database's failure. It was logged where it occurred; this only says what the writer must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The database can't be reached. Nothing was stored.
    Unavailable,
    /// The disk has no space left. Nothing was stored.
    DiskFull,
    /// The commit was sent and not answered, so its outcome is unknown.
    OutcomeUnknown,
    /// The transaction conflicted with that of another writer, and may succeed if repeated. Nothing was stored.
    Conflict,
    /// A row that must be unique exists already: another writer was faster, or the write itself is wrong. Repeating the
    /// transaction shows which. Nothing was stored.
    UniqueViolation,
    /// The database rejected a statement. Nothing was stored.
    Rejected,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unavailable | Failure::Conflict => Unavailable::StoreAway.into(),
            Failure::DiskFull => Unavailable::DiskFull.into(),
            Failure::OutcomeUnknown => Unavailable::OutcomeUnknown.into(),
            Failure::UniqueViolation | Failure::Rejected => Self::Internal,
        }
    }
}

/// Why a rule stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The database failed, so the whole batch is rolled back.
    Failed(Failure),
    /// The write is rejected, and only this write. A rule rejects before it writes, so there is nothing to roll back.
    Refused(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Forbidden> for Stop {
    fn from(forbidden: Forbidden) -> Self {
        Self::Refused(forbidden.into())
    }
}

impl From<TokenRefusal> for Stop {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

/// Rejects the write.
pub(crate) fn refuse<T>(error: impl Into<Error>) -> Result<T, Stop> {
    Err(Stop::Refused(error.into()))
}
