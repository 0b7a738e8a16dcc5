//! Development tasks: `cargo xtask --help` lists them.

// A program for the terminal.
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
    /// Serve, and start anew when sources change
    Dev {
        /// Passed on to `chatsphere serve`
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Build the program as it is shipped
    Build,
    /// Check layout, dependencies and clippy's lints
    Lint,
    /// Write the files that are made from the code
    Codegen {
        /// Compare instead, and fail where they differ
        #[arg(long)]
        check: bool,
    },
    /// Run lint, codegen --check and test, as a change must pass them
    Ci,
    /// Run every test, with what they need: PostgreSQL, NATS, Chromium, Node and Python are found or installed
    Test {
        /// Passed on to `cargo test`
        #[arg(last = true)]
        extra: Vec<String>,
    },
    /// Measure the shipped build as docs/performance.md does; the reports go to target/bench
    Bench(commands::bench::Args),
    /// Check the server's promises over kills for as long as there is time, and stop at the first that is broken
    Soak {
        /// How long; a round that has begun is finished
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// The first round's, to repeat an earlier soak
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Run a command with the services and variables that the tests get
    WithServices {
        /// Leave out NATS, Chromium, Node and Python
        #[arg(long)]
        postgres_only: bool,
        /// The command
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
