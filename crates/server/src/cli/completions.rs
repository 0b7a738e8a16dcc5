use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;
use super::error::CliError;
use super::output::{NAME, answer_bytes};

/// Print a shell script that completes the program's commands and flags
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell that reads the script
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), NAME, &mut script);
        answer_bytes(&script);
        Ok(())
    }
}
