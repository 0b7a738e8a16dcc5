//! The steps that bring a database's tables up to date. Each adapter has its own list and runs it under a lock of its
//! database, so that several nodes may start together.
//!
//! A step that was released is never edited; a change is a new step.

use crate::error::OpenError;
use crate::open::MigrationReport;

/// One step. Its version is its place in the list, counted from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) name: &'static str,
    pub(crate) sql: &'static str,
}

/// The steps that are left, each with the version that it leads to.
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

/// What was done to a database found at `from`.
pub(crate) fn report(steps: &'static [Migration], from: u32) -> MigrationReport {
    let applied = (1..).zip(steps).filter(|(version, _)| *version > from).map(|(_, step)| step.name).collect();
    MigrationReport { from, to: newest(steps), applied }
}

/// The version that the last step leads to.
pub(crate) fn newest(steps: &[Migration]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// Says how far the keys of names are, of which there may be millions.
pub(crate) fn tell_keyed(names: usize) {
    if names % 100_000 < 5_000 {
        tracing::info!(names, "giving the names of users their keys");
    }
}
