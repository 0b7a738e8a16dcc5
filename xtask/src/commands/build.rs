//! `cargo xtask build`: the one program, as it is shipped.

use crate::cargo::cargo;
use crate::error::Result;
use crate::interrupt::{Group, Interrupts};

/// Builds the server in release mode.
pub(crate) fn run(interrupts: &Interrupts) -> Result {
    interrupts.run(cargo()?.args(["build", "--release", "-p", "chatsphere"]), Group::Shared)
}
