//! Load generator and checker for ChatSphere; speaks the public protocol alone.
//!
//! Each command is a file in [`commands`]. What several share is beside it: making users and rooms, raw sockets, a proxy that
//! cuts connections, latencies, the server's CPU time, the report.

mod commands;
mod cutter;
mod error;
mod latency;
mod process;
mod raw_socket;
mod report;
mod setup;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::BenchError;
use report::Report;

/// Puts load on a ChatSphere server, and checks what it promises.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Smoke(commands::smoke::Args),
    Fanout(commands::fanout::Args),
    Ingest(commands::ingest::Args),
    Verify(commands::verify::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { command, json } = Cli::parse();
    let result = match command {
        Command::Smoke(args) => commands::smoke::run(args).await,
        Command::Fanout(args) => commands::fanout::run(args).await,
        Command::Ingest(args) => commands::ingest::run(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
    };
    match result {
        Ok(report) => finish(&report, json),
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn finish(report: &Report, json: bool) -> ExitCode {
    match report.print(json) {
        Ok(()) if report.violations.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&BenchError::from(error));
            ExitCode::FAILURE
        }
    }
}
