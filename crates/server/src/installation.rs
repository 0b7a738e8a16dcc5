//! Checks that an installation exists and that its files may be used.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::config::Settings;
use crate::lock::{beside, database_file};
use crate::ownership::{self, Role};
use crate::start_error::StartError;

/// Rejects files of other users, and an incomplete restore. Absent files are in order.
///
/// # Errors
/// [`StartError::Unsafe`], [`StartError::HalfRestored`].
pub(crate) fn check_files(settings: &Settings, role: Role) -> Result<(), StartError> {
    ownership::check_data_dir(&settings.data_dir, role)?;
    let url = settings.database();
    let Some(Ok(database)) = url.sqlite_path().map(database_file) else { return Ok(()) };
    ownership::check_database(&database, role)?;
    let mark = restore_mark(&database);
    match mark.exists() {
        true => Err(StartError::HalfRestored { mark: mark.display().to_string() }),
        false => Ok(()),
    }
}

/// The same for a command that needs an installation: fails if there is none.
///
/// # Errors
/// [`CliError::NoDatabase`], [`CliError::Start`].
pub(crate) fn require(settings: &Settings) -> Result<(), CliError> {
    require_database(settings)?;
    Ok(check_files(settings, Role::Operator)?)
}

fn require_database(settings: &Settings) -> Result<(), CliError> {
    let url = settings.database();
    let Some(path) = url.sqlite_path() else { return Ok(()) };
    match path.metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(CliError::NoDatabase(url.to_string())),
        Err(error) => {
            let reason = ownership::trouble(&[path.to_owned()]).unwrap_or_else(|| error.to_string());
            Err(StartError::NotAllowed { url: url.to_string(), reason }.into())
        }
    }
}

/// The file that marks an incomplete restore of a database.
pub(crate) fn restore_mark(database: &Path) -> PathBuf {
    beside(database, ".restore-under-way")
}
