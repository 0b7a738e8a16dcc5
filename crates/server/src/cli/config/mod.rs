//! `chatsphere config`.

mod check;
mod docs;

use clap::Subcommand;

use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what holds, and where each value comes from
    Check(check::Check),
    /// Print docs/configuration.md
    Docs,
}

impl Command {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(command) => command.run(),
            Self::Docs => {
                docs::run();
                Ok(())
            }
        }
    }
}
