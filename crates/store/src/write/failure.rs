//! What a database did not do, as far as the writer must know.

use chatsphere_core::{Error, Forbidden, TokenRefusal, Unavailable};

/// A database's failure. Logged where it is made: what comes here tells only what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It can't be reached. Nothing was stored.
    Unavailable,
    /// No space is left. Nothing was stored.
    DiskFull,
    /// The commit was sent and not answered.
    OutcomeUnknown,
    /// Another writer got in the way; the same again may succeed. Nothing was stored.
    Conflict,
    /// A row that must be unique is there already: another writer was faster, or the write itself is broken. The same again
    /// tells which. Nothing was stored.
    UniqueViolation,
    /// It refused a statement. Nothing was stored.
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
    /// The database failed: the whole batch is undone.
    Failed(Failure),
    /// The write is not allowed: only it is answered so. A rule refuses before its first write, so there is nothing to undo.
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

/// Refuses the write.
pub(crate) fn refuse<T>(error: impl Into<Error>) -> Result<T, Stop> {
    Err(Stop::Refused(error.into()))
}
