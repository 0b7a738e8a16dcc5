//! `cargo xtask lint`: static checks.

use crate::cargo::cargo;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::{arrows, paths, say, unused};

/// Checks formatting, dependencies between crates, clippy's lints and, if cargo-deny is installed, external dependencies.
pub(crate) fn run(interrupts: &Interrupts) -> Result {
    say::step("checking the layout: cargo fmt --all --check");
    interrupts.run(cargo()?.args(["fmt", "--all", "--check"]), Group::Shared)?;

    say::step("checking which crate depends on what, and whether it uses it");
    let root = paths::root()?;
    let found = [arrows::check(&root)?, unused::check(&root)?].concat();
    if !found.is_empty() {
        return Err(TaskError::failed(found.join("\n")));
    }

    say::step("checking with clippy");
    interrupts.run(cargo()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]), Group::Shared)?;

    if cargo()?.args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        say::step("checking the dependencies with cargo-deny");
        interrupts.run(cargo()?.args(["deny", "--workspace", "check"]), Group::Shared)
    } else {
        say::warn(
            "left out: licences and advisories of the dependencies; `cargo install --locked cargo-deny` brings the check",
        );
        Ok(())
    }
}
