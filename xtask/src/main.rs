//! Development tasks: `cargo xtask --help` lists them.

// This is a terminal program.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arrows;
mod cargo;
mod commands;
mod error;
mod interrupt;
mod needs;
mod paths;
mod say;
mod sources;
mod unused;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Result;
use interrupt::Interrupts;
use needs::Wanted;

/// Development tasks of ChatSphere.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the server, and restart it when sources change
    Dev {
        /// Arguments for `chatsphere serve`
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Build the release binary
    Build,
    /// Check formatting, dependencies and clippy's lints
    Lint,
    /// Generate files from the code
    Codegen {
        /// Only compare, and fail if they differ
        #[arg(long)]
        check: bool,
    },
    /// Run lint, codegen --check and test, which every change must pass
    Ci,
    /// Run every test, with the services it needs: PostgreSQL, NATS, Chromium, Node and Python are found or installed
    Test {
        /// Arguments for `cargo test`
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Measure the release binary as docs/performance.md does; the reports go to target/bench
    Bench(commands::bench::Args),
    /// Check the server's guarantees over repeated kills until the time is over, and stop at the first violation
    Soak {
        /// Minutes; a round in progress is completed
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// The seed of the first round, to repeat an earlier soak
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run a command with the services and variables of the tests
    WithServices {
        /// Without NATS, Chromium, Node and Python
        #[arg(long)]
        postgres_only: bool,
        /// The command to run
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(&Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::warn(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(task: &Task) -> Result {
    let interrupts = Interrupts::watch()?;
    match task {
        Task::Dev { extra } => commands::dev::run(extra, &interrupts),
        Task::Build => commands::build::run(&interrupts),
        Task::Lint => commands::lint::run(&interrupts),
        Task::Codegen { check } => commands::codegen::run(*check, &interrupts),
        Task::Ci => commands::ci::run(&interrupts),
        Task::Test { extra } => commands::test::run(extra, &interrupts),
        Task::Bench(args) => commands::bench::run(args, &interrupts),
        Task::Soak { minutes, seed } => commands::soak::run(*minutes, *seed, &interrupts),
        Task::WithServices { postgres_only, command } => {
            let wanted = if *postgres_only { Wanted::PostgresOnly } else { Wanted::All };
            commands::with_services::run(command, wanted, &interrupts)
        }
    }
}
