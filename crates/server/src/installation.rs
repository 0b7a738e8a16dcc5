//! Whether there is an installation to work on, and whether its files may be used.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::cli::CliError;
use crate::config::Settings;
use crate::lock::{beside, database_file};
use crate::ownership::{self, Role};
use crate::start_error::StartError;

/// Refuses what belongs to others, or what a restore has left half done. What is absent is in order.
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

/// The same for a command that works on what is there: where there is nothing, it says so.
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

/// Stands beside a database while a restore puts another in its place.
pub(crate) fn restore_mark(database: &Path) -> PathBuf {
    beside(database, ".restore-under-way")
}
