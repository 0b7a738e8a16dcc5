//! Finds or installs NATS, which cluster tests start and stop themselves.

use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::say;

/// The path of the server program.
pub(crate) fn find_or_install(apt: &Apt<'_>) -> Result<PathBuf> {
    if find().is_none() {
        apt.install(&["nats-server"])?;
    }
    let (program, version) =
        find().ok_or_else(|| TaskError::failed("no nats-server was found, though its package is installed"))?;
    say::step(&format!("finding NATS … {} ({version})", program.display()));
    Ok(program)
}

fn find() -> Option<(PathBuf, String)> {
    // Debian installs it in a directory that is not on an ordinary user's PATH.
    let debians = Path::new("/usr/sbin/nats-server");
    let program = look_up::on_path(&["nats-server"]).or_else(|| debians.exists().then(|| debians.to_owned()))?;
    let version = look_up::first_line(&program, &["--version"])?;
    Some((program, version))
}
