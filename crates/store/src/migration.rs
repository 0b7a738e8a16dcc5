//! The migrations of a database. Each adapter has its own list, and runs it under a lock of its database, so that several nodes
//! may start at the same time.
//!
//! A released migration is never edited; a change is a new migration.

use crate::error::OpenError;
use crate::open::MigrationReport;

/// A migration. Its version is its place in the list, counted from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

/// Returns the remaining migrations, each with the version to which it leads.
pub(crate) fn left(
    steps: &'static [Migration],
    found: u32,
) -> Result<impl Iterator<Item = (u32, &'static Migration)>, OpenError> {
    let program = newest(steps);
    if found > program {
        return Err(OpenError::NewerVersion { database: found, program });
    }
    Ok((1..).zip(steps).skip_while(move |(version, _)| *version <= found))
}

/// Returns the report about a database whose version was `from`.
pub(crate) fn report(steps: &'static [Migration], from: u32) -> MigrationReport {
    let applied = (1..).zip(steps).filter(|(version, _)| *version > from).map(|(_, step)| step.name).collect();
    MigrationReport { from, to: newest(steps), applied }
}

/// Returns the version to which the last migration leads.
pub(crate) fn newest(steps: &[Migration]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// Logs how many names have got their keys, because there may be millions.
pub(crate) fn log_keyed(names: usize) {
    if names % 100_000 < 5_000 {
        tracing::info!(names, "giving the names of users their keys");
    }
}
