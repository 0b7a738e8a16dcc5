//! Output of commands. A closed pipe is no error; a full disk is.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use serde::Serialize;

use super::error::CliError;
pub(crate) use crate::log::note;

/// The error of the first failed write to standard output.
static FAILED: OnceLock<String> = OnceLock::new();

/// The program's name, as typed.
pub(crate) const NAME: &str = "chatsphere";

/// Prints a line of the answer to standard output.
pub(crate) fn answer(text: impl fmt::Display) {
    keep(writeln!(io::stdout().lock(), "{text}"));
}

/// Prints a complete answer, with its own line ends, to standard output.
pub(crate) fn answer_bytes(bytes: &[u8]) {
    keep(io::stdout().lock().write_all(bytes));
}

/// Prints an informative line to standard output, without waiting for the reader.
pub(crate) fn announce(text: String) {
    let write = move || {
        let _ = writeln!(io::stdout().lock(), "{text}");
    };
    let _ = std::thread::Builder::new().name("announce".to_owned()).spawn(write);
}

/// Fails if a part of the answer was not written.
pub(crate) fn finish() -> Result<(), CliError> {
    keep(io::stdout().lock().flush());
    FAILED.get().map_or(Ok(()), |reason| Err(CliError::NotAnswered(reason.clone())))
}

fn keep(outcome: io::Result<()>) {
    if let Err(error) = outcome
        && error.kind() != ErrorKind::BrokenPipe
    {
        FAILED.get_or_init(|| error.to_string());
    }
}

/// Prints the answer as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    answer(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints the answer as a table with fitted columns.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|text| (*text).to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or(0))
        .collect();
    for row in all() {
        let line: Vec<String> = row.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        answer(line.join("  ").trim_end());
    }
}
