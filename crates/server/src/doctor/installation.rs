//! Checks that there is an installation.

use super::finding::Finding;
use crate::cli::CliError;
use crate::config::Settings;
use crate::installation;

const CHECK: &str = "installation";

/// No finding if there is one: the other checks report on it.
pub(super) fn check(settings: &Settings) -> Option<Finding> {
    match installation::require(settings) {
        Err(error @ CliError::NoDatabase(_)) => Some(Finding::from_error(CHECK, &error.to_string())),
        // Other problems with its files are reported by other checks.
        _ => None,
    }
}
