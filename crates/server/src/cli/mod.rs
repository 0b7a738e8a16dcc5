//! The command line, one command a file. What a command answers goes to standard output, all else to standard error.

mod access;
mod backup;
mod completions;
mod config;
mod doctor;
mod epoch;
mod error;
mod healthcheck;
mod import;
mod man;
mod migrate;
mod openapi;
mod output;
mod progress;
mod restore;
mod serve;
mod signals;
mod token;
mod user;

use clap::{Parser, Subcommand};

pub use error::CliError;

/// A self-hosted chat server.
#[derive(Debug, Parser)]
#[command(name = "chatsphere", version, about, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Settings are explained in docs/configuration.md, or by `chatsphere config docs`.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Make, list and change users
    #[command(subcommand)]
    User(user::Command),
    /// Bring the database's tables up to date and do nothing else
    Migrate(migrate::Migrate),
    /// Take over another chat's data: that of ChatSphere's Node.js version
    #[command(subcommand)]
    Import(import::Command),
    /// Copy the database into a file while the server runs
    Backup(backup::Backup),
    /// Put a backup in the place of the database, with the server stopped
    Restore(restore::Restore),
    /// Tell clients that their cursors are worth nothing any more, after a restore
    #[command(subcommand)]
    Epoch(epoch::Command),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Look this node over: what is wrong, and what to do about it
    Doctor(doctor::Doctor),
    /// Ask the server on this machine whether it is alive, for supervisors of containers
    Healthcheck(healthcheck::Healthcheck),
    /// Print the API's description, OpenAPI 3.1
    Openapi,
    /// Print a script that completes commands and flags in a shell
    Completions(completions::Completions),
    /// Print the manual page, or write the pages of all commands
    Man(man::Man),
}

/// Runs the command that was asked for.
///
/// # Errors
/// [`CliError`].
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        // Its answers are of use to whoever reads them, and to it no reason to fail.
        Command::Serve(command) => command.run().await,
        command => {
            answer(command).await?;
            output::finish()
        }
    }
}

async fn answer(command: Command) -> Result<(), CliError> {
    match command {
        Command::Serve(command) => command.run().await,
        Command::Token(command) => command.run().await,
        Command::User(command) => command.run().await,
        Command::Migrate(command) => command.run().await,
        Command::Import(command) => command.run().await,
        Command::Backup(command) => command.run().await,
        Command::Restore(command) => command.run().await,
        Command::Epoch(command) => command.run().await,
        Command::Config(command) => command.run(),
        Command::Doctor(command) => command.run().await,
        Command::Healthcheck(command) => command.run().await,
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Openapi => {
            openapi::run();
            Ok(())
        }
    }
}

/// Tells on standard error why a command failed.
pub fn tell(error: &CliError) {
    output::note(format_args!("error: {error}"));
}
