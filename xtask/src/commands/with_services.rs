//! `cargo xtask with-services -- <command…>`: runs a command with the services of the tests.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use crate::cargo::without_our_own;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::needs::{Needs, Wanted};

/// Runs the command in the caller's directory.
pub(crate) fn run(words: &[String], wanted: Wanted, interrupts: &Interrupts) -> Result {
    let Some((program, arguments)) = words.split_first() else {
        return Err(TaskError::failed("no command was given"));
    };
    let needs = Needs::meet(wanted, interrupts)?;
    let mut command = Command::new(program);
    command.args(arguments);
    without_our_own(&mut command);
    needs.tell(&mut command);
    // A shell or psql must stay in the terminal's foreground group.
    let group = if std::io::stdin().is_terminal() {
        Group::Shared
    } else {
        command.stdin(Stdio::inherit());
        Group::Own
    };
    interrupts.run(&mut command, group)
}
