//! `chatsphere token`.

mod create;
mod list;
mod revoke;

use clap::Subcommand;

use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a token, for a user or for an application's backend
    Create(create::Create),
    /// List tokens, without the tokens themselves
    List(list::List),
    /// Revoke a token, and all that it minted
    Revoke(revoke::Revoke),
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Revoke(command) => command.run().await,
        }
    }
}
