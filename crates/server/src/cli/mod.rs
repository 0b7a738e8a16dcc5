//! The command line, one command per file. Answers go to standard output, everything else to standard error.

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
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create, list and change users
    #[command(subcommand)]
    User(user::Command),
    /// Migrate the database's tables and exit
    Migrate(migrate::Migrate),
    /// Import another chat's data: that of ChatSphere's Node.js version
    #[command(subcommand)]
    Import(import::Command),
    /// Copy the database into a file while the server runs
    Backup(backup::Backup),
    /// Replace the database by a backup, with the server stopped
    Restore(restore::Restore),
    /// Invalidate clients' cursors after a restore
    #[command(subcommand)]
    Epoch(epoch::Command),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Check this node: report problems, and how to fix them
    Doctor(doctor::Doctor),
    /// Check whether the server on this machine is alive, for container supervisors
    Healthcheck(healthcheck::Healthcheck),
    /// Print the API's description, OpenAPI 3.1
    Openapi(openapi::Openapi),
    /// Print a shell script that completes commands and flags
    Completions(completions::Completions),
    /// Print the manual page, or write the pages of all commands
    Man(man::Man),
}

/// Runs the given command.
///
/// # Errors
/// [`CliError`].
pub async fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        // Serve's output is informative only; a failure to write it is no error.
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
        Command::Openapi(command) => {
            command.run();
            Ok(())
        }
    }
}

/// Reports on standard error why a command failed.
pub fn tell(error: &CliError) {
    output::note(format_args!("error: {error}"));
}
