//! `cargo xtask build`: builds the release binary.

use crate::cargo::cargo;
use crate::error::Result;
use crate::interrupt::{Group, Interrupts};

/// Builds the server with the profile `dist`, which builds slower and runs faster than `release`.
pub(crate) fn run(interrupts: &Interrupts) -> Result {
    interrupts.run(cargo()?.args(["build", "--profile", "dist", "-p", "chatsphere"]), Group::Shared)
}
