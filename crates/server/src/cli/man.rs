use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::{Man as Page, generate_to};

use super::Cli;
use super::error::CliError;
use super::output::{NAME, answer_bytes, note};

/// Print the program's manual page, or write the pages of all commands into a directory
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write chatsphere.1 and a page for each command into this directory, for example /usr/local/share/man/man1
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let Some(directory) = self.directory else {
            let mut page = Vec::new();
            Page::new(Cli::command().name(NAME)).render(&mut page).map_err(CliError::Machine)?;
            answer_bytes(&page);
            return Ok(());
        };
        let written = std::fs::create_dir_all(&directory).and_then(|()| generate_to(Cli::command().name(NAME), &directory));
        written.map_err(|source| CliError::NotWritten { path: directory.display().to_string(), source })?;
        note(format_args!("the manual pages are in {}", directory.display()));
        Ok(())
    }
}
