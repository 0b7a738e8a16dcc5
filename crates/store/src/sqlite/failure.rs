//! The meaning of SQLite's errors.

use std::path::Path;

use chatsphere_core::{Error, Unavailable};
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use super::log_of;
use crate::error::OpenError;
use crate::health::Health;
use crate::write::failure::Failure;

/// Logs the error, and returns its meaning for a write.
pub(super) fn failure(health: &Health, error: &rusqlite::Error) -> Failure {
    let failure = meaning(error);
    if is_damaged(error) {
        health.damaged(error);
        return failure;
    }
    match failure {
        Failure::Unavailable | Failure::DiskFull | Failure::OutcomeUnknown => health.away(error),
        Failure::Conflict => health.crossed(error),
        Failure::UniqueViolation | Failure::Rejected => health.failed(error),
    }
    failure
}

/// The same for a commit. A commit that SQLite rejects is rolled back. If the disk itself failed, the outcome is unknown: it
/// shows only when the file is read again.
pub(super) fn commit_failure(health: &Health, error: &rusqlite::Error) -> Failure {
    let failure = failure(health, error);
    if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) && failure == Failure::Unavailable {
        return Failure::OutcomeUnknown;
    }
    failure
}

/// Logs the error, and returns its meaning for a read.
pub(super) fn read_error(health: &Health, error: &rusqlite::Error) -> Error {
    match failure(health, error) {
        Failure::Rejected => Error::Internal,
        _ => Unavailable::StoreAway.into(),
    }
}

fn meaning(error: &rusqlite::Error) -> Failure {
    if is_disk_full(error) {
        return Failure::DiskFull;
    }
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => Failure::Unavailable,
        _ => Failure::Rejected,
    }
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(super) fn is_disk_full(error: &rusqlite::Error) -> bool {
    // The second code: the shared-memory file beside the database could not grow.
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_IOERR_SHMSIZE)
}

/// Returns its meaning for opening the database.
pub(super) fn open_error(url: &str, error: &rusqlite::Error) -> OpenError {
    let (url, reason) = (url.to_owned(), error.to_string());
    if is_disk_full(error) {
        return OpenError::DiskFull { url };
    }
    // The path is taken from the URL. If it is not UTF-8, the error has no hint about the log.
    let log = || url.strip_prefix("sqlite:").and_then(|path| log_of(Path::new(path))).map(|log| log.display().to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { log: log(), url, reason },
        Some(ErrorCode::NotADatabase) => match log() {
            None => OpenError::NotADatabase { url, reason },
            log => OpenError::Damaged { log, url, reason },
        },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => OpenError::FileReadOnly { url, reason },
        _ if meaning(error) == Failure::Unavailable => OpenError::Unavailable { url, reason },
        _ => OpenError::Failed { url, reason },
    }
}
