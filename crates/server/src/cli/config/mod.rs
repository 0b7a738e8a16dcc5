//! `chatsphere config`.

mod check;
mod docs;

use clap::Subcommand;

use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the settings in force, and the source of each value
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
