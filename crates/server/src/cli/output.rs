//! How commands speak. A reader that went away is no error of theirs; a disk that takes no more of the answer is.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

use serde::Serialize;

use super::error::CliError;
pub(crate) use crate::log::note;

/// Why a part of the answer was not written.
static FAILED: OnceLock<String> = OnceLock::new();

/// The program's name, as it is typed.
pub(crate) const NAME: &str = "chatsphere";

/// A line of the answer, to standard output.
pub(crate) fn answer(text: impl fmt::Display) {
    keep(writeln!(io::stdout().lock(), "{text}"));
}

/// A whole answer that brings its own line ends, to standard output.
pub(crate) fn answer_bytes(bytes: &[u8]) {
    keep(io::stdout().lock().write_all(bytes));
}

/// A line to standard output that nothing depends on. Waits for no reader.
pub(crate) fn announce(text: String) {
    let write = move || {
        let _ = writeln!(io::stdout().lock(), "{text}");
    };
    let _ = std::thread::Builder::new().name("announce".to_owned()).spawn(write);
}

/// Whether the whole answer was written.
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

/// The answer as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    answer(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// The answer as a table, its columns as wide as what is in them.
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
