//! Is this the place that was meant?

use super::finding::Finding;
use crate::cli::CliError;
use crate::config::Settings;
use crate::installation;

const CHECK: &str = "installation";

/// Nothing to tell where there is one: the other checks tell of it.
pub(super) fn check(settings: &Settings) -> Option<Finding> {
    match installation::require(settings) {
        Err(error @ CliError::NoDatabase(_)) => Some(Finding::from_error(CHECK, &error.to_string())),
        // What else is wrong with its files, the checks of these tell.
        _ => None,
    }
}
