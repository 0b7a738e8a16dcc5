//! Installs Debian packages.

use std::cell::Cell;
use std::io::IsTerminal;
use std::process::{Command, Stdio};

use super::look_up;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::say;

/// `apt-get`, as root or through sudo.
pub(crate) struct Apt<'a> {
    interrupts: &'a Interrupts,
    updated: Cell<bool>,
}

impl<'a> Apt<'a> {
    /// Runs nothing until a package must be installed.
    pub(crate) fn new(interrupts: &'a Interrupts) -> Self {
        Self { interrupts, updated: Cell::new(false) }
    }

    /// Installs the packages. A fresh machine has no package list, and an old list names removed files, so the first failure
    /// triggers one `apt-get update`.
    pub(crate) fn install(&self, packages: &[&str]) -> Result {
        say::step(&format!("installing {}", packages.join(" ")));
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend_from_slice(packages);
        match self.apt_get(&arguments) {
            Err(TaskError::Program { .. }) if !self.updated.replace(true) => {
                say::step("refreshing the list of packages, then trying again");
                self.apt_get(&["update"])?;
                self.apt_get(&arguments)
            }
            result => result,
        }
    }

    fn apt_get(&self, arguments: &[&str]) -> Result {
        let Some(apt_get) = look_up::on_path(&["apt-get"]) else {
            return Err(TaskError::failed(format!(
                "this machine has no apt-get; install by hand what `apt-get {}` would",
                arguments.join(" ")
            )));
        };
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("env")
        } else {
            let sudo =
                look_up::on_path(&["sudo"]).ok_or_else(|| TaskError::failed("installing packages needs root or sudo"))?;
            let mut command = Command::new(sudo);
            // Without a terminal for the password, fail instead of waiting.
            if !std::io::stdin().is_terminal() {
                command.arg("--non-interactive");
            }
            command.arg("env");
            command
        };
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(apt_get);
        // Another apt-get may be running on a newly started machine.
        command.args(["--quiet", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
        // Its output would hide that of the tests; errors are shown.
        command.stdout(Stdio::null());
        self.interrupts.run(&mut command, Group::Shared)
    }
}
