//! `cargo xtask build`: the one program, as it is shipped.

use crate::cargo::cargo;
use crate::error::Result;
use crate::interrupt::{Group, Interrupts};

/// Builds the server with the profile `dist`, which is slower to build than `release` and faster to run.
pub(crate) fn run(interrupts: &Interrupts) -> Result {
    interrupts.run(cargo()?.args(["build", "--profile", "dist", "-p", "chatsphere"]), Group::Shared)
}
