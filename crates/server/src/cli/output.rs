//! How commands speak. A reader that went away is no error of theirs.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// A line of the answer, to standard output.
pub(crate) fn answer(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// A line beside the answer, to standard error.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
