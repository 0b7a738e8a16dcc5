//! A load generator for ChatSphere that uses only the public protocol.
//!
//! Each command is a file in [`commands`]. Shared parts are beside it: creating users and rooms, raw sockets, a proxy that cuts
//! connections, latencies, the server's CPU time, the report and its plot.

mod address;
mod author;
mod commands;
mod cutter;
mod deliveries;
mod fill;
mod http_socket;
mod parallel;
mod participants;
mod process;
mod progress;
mod raw_socket;
mod target;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chatsphere_bench::{error, latency, plot, report, setup};
use clap::{Parser, Subcommand};

use error::RunError;
use report::Report;

/// Puts load on a ChatSphere server.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Draw the latencies, or other measurements of the command, as SVG.
    #[arg(long, global = true, value_name = "FILE")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Smoke(commands::smoke::Args),
    Idle(commands::idle::Args),
    Connect(commands::connect::Args),
    Fanout(commands::fanout::Args),
    Floor(commands::floor::Args),
    Rest(commands::rest::Args),
    Ingest(commands::ingest::Args),
    Storm(commands::storm::Args),
    Fairness(commands::fairness::Args),
    Growth(commands::growth::Args),
    #[command(hide = true)]
    FloorWriter(commands::floor::WriterArgs),
}

fn main() -> ExitCode {
    let Cli { command, json, plot } = Cli::parse();
    // This process is measured itself: no runtime, no report.
    if let Command::FloorWriter(args) = &command {
        return match commands::floor::run_writer(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    raise_descriptor_limit();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(source) => return fail(&RunError::Io { what: "starting", source }),
    };
    match runtime.block_on(measure(command)) {
        Ok(Some(report)) => finish(&report, json, plot.as_deref()),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Raises this process's limit of open files as far as allowed; many systems start with 1,024. If that fails, commands that
/// need more report it.
#[cfg(unix)]
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(not(unix))]
fn raise_descriptor_limit() {}

async fn measure(command: Command) -> Result<Option<Report>, RunError> {
    match command {
        Command::Smoke(args) => commands::smoke::run(args).await.map(Some),
        Command::Idle(args) => commands::idle::run(args).await.map(Some),
        Command::Connect(args) => commands::connect::run(args).await.map(Some),
        Command::Fanout(args) => commands::fanout::run(args).await.map(Some),
        Command::Floor(args) => commands::floor::run(args).await.map(Some),
        Command::Rest(args) => commands::rest::run(args).await.map(Some),
        Command::Ingest(args) => commands::ingest::run(args).await.map(Some),
        Command::Storm(args) => commands::storm::run(args).await.map(Some),
        Command::Fairness(args) => commands::fairness::run(args).await.map(Some),
        Command::Growth(args) => commands::growth::run(args).await.map(Some),
        Command::FloorWriter(_) => Ok(None),
    }
}

fn finish(report: &Report, json: bool, plot: Option<&Path>) -> ExitCode {
    let drawn = plot.map_or(Ok(()), |path| draw(report, path));
    match drawn.and_then(|()| Ok(report.print(json)?)) {
        Ok(()) if report.violations.is_empty() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn draw(report: &Report, path: &Path) -> Result<(), RunError> {
    let svg = report.svg().ok_or_else(|| RunError::Usage("this run has nothing to plot".to_owned()))?;
    std::fs::write(path, svg).map_err(|source| RunError::Io { what: "writing the plot", source })
}

fn fail(error: &RunError) -> ExitCode {
    report::complain(error);
    ExitCode::FAILURE
}
