//! Finds or installs Node.js and the packages of the end-to-end tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt::Apt;
use super::look_up;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::{paths, say};

const OLDEST: u32 = 18;

/// The environment of the end-to-end tests.
pub(crate) struct Node {
    /// The program.
    pub(crate) program: PathBuf,
    /// The directory of the tests, with installed packages.
    pub(crate) tests: PathBuf,
}

/// Finds or installs Node.js and npm, and installs the packages of `tests/e2e`.
pub(crate) fn find_or_install(apt: &Apt<'_>, interrupts: &Interrupts) -> Result<Node> {
    if find().is_none() {
        apt.install(&["nodejs", "npm"])?;
    }
    let (program, npm, version) =
        find().ok_or_else(|| TaskError::failed(format!("no Node.js {OLDEST} or later with npm was found; install it")))?;
    say::step(&format!("finding Node.js … {} ({version})", program.display()));
    let tests = paths::root()?.join("tests").join("e2e");
    install_packages(&npm, &tests, interrupts)?;
    Ok(Node { program, tests })
}

fn find() -> Option<(PathBuf, PathBuf, String)> {
    let node = look_up::on_path(&["node", "nodejs"])?;
    let npm = look_up::on_path(&["npm"])?;
    let version = look_up::first_line(&node, &["--version"])?;
    (look_up::major(&version)? >= OLDEST).then_some((node, npm, version))
}

fn install_packages(npm: &Path, tests: &Path, interrupts: &Interrupts) -> Result {
    let wanted = tests.join("package-lock.json");
    let wanted = std::fs::read_to_string(&wanted).map_err(TaskError::at("reading", &wanted))?;
    let modules = tests.join("node_modules");
    let installed = modules.join(".installed-package-lock.json");
    if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    say::step(&format!("installing the npm packages of {}", tests.display()));
    let mut command = Command::new(npm);
    // None of these packages needs its install scripts, which could do anything.
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(tests)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    interrupts.run(&mut command, Group::Own)?;
    std::fs::create_dir_all(&modules).map_err(TaskError::at("making", &modules))?;
    std::fs::write(&installed, wanted).map_err(TaskError::at("writing", &installed))
}
