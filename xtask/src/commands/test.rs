//! `cargo xtask test`: runs every test with the services that it needs.

use std::process::Stdio;

use crate::cargo::{cargo, test_arguments};
use crate::error::Result;
use crate::interrupt::{Group, Interrupts, typed};
use crate::needs::{Needs, Wanted};
use crate::say;

/// Runs the tests; `extra` is passed to `cargo test`.
pub(crate) fn run(extra: &[String], interrupts: &Interrupts) -> Result {
    let needs = Needs::meet(Wanted::All, interrupts)?;
    let mut command = cargo()?;
    command.args(test_arguments(extra)).stdin(Stdio::null());
    needs.tell(&mut command);
    say::step(&typed(&command));
    interrupts.run(&mut command, Group::Own)
}
