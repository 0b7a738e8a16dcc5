//! Finds or installs a browser for the end-to-end tests.

use std::path::PathBuf;

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::say;

/// Chromium, or an installed Chrome.
pub(crate) fn find_or_install(apt: &Apt<'_>) -> Result<PathBuf> {
    if find().is_none() {
        // Debian packages the sandbox separately; without it Chromium does not start for an ordinary user.
        apt.install(&["chromium", "chromium-sandbox"])?;
    }
    let (program, version) =
        find().ok_or_else(|| TaskError::failed("no Chromium was found, though the package chromium is installed"))?;
    say::step(&format!("finding Chromium … {} ({version})", program.display()));
    Ok(program)
}

fn find() -> Option<(PathBuf, String)> {
    let program = look_up::on_path(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])?;
    // On some distributions the program is a script that only explains how to install it.
    let version = look_up::first_line(&program, &["--version"])?;
    Some((program, version))
}
