//! Finding or installing NATS, which tests of several nodes start and stop themselves.

use std::path::{Path, PathBuf};

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::say;

/// The server's program.
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
    // Debian puts it where an ordinary user's PATH does not look.
    let debians = Path::new("/usr/sbin/nats-server");
    let program = look_up::on_path(&["nats-server"]).or_else(|| debians.exists().then(|| debians.to_owned()))?;
    let version = look_up::first_line(&program, &["--version"])?;
    Some((program, version))
}
