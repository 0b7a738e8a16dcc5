//! `cargo xtask codegen`: generated files that are committed, so that API changes are visible in review.

use std::io::{Read, Seek};
use std::path::Path;

use crate::cargo::cargo;
use crate::error::{Result, TaskError};
use crate::interrupt::{Group, Interrupts};
use crate::{paths, say};

/// The files, and the flags of `chatsphere openapi` that make it print each.
const FILES: [(&str, &[&str]); 2] = [("docs/openapi.json", &[]), ("docs/frames.schema.json", &["--frames"])];

/// Writes the files; with `check` only compares.
pub(crate) fn run(check: bool, interrupts: &Interrupts) -> Result {
    for (name, flags) in FILES {
        let made = printed(flags, interrupts)?;
        let file = paths::root()?.join(name);
        let committed = read(&file)?;
        if committed == made {
            say::step(&format!("{name} is up to date"));
        } else if check {
            return Err(TaskError::failed(format!(
                "{name} is not what the code makes; run `cargo xtask codegen` and commit it.\n{}",
                first_difference(&committed, &made)
            )));
        } else {
            std::fs::write(&file, made).map_err(TaskError::at("writing", &file))?;
            say::step(&format!("wrote {name}"));
        }
    }
    Ok(())
}

fn printed(flags: &[&str], interrupts: &Interrupts) -> Result<String> {
    let mut output = tempfile::tempfile().map_err(TaskError::io("making a temporary file"))?;
    let handle = output.try_clone().map_err(TaskError::io("opening a temporary file"))?;
    let mut command = cargo()?;
    command.args(["run", "--quiet", "-p", "chatsphere", "--", "openapi"]).args(flags).stdout(handle);
    interrupts.run(&mut command, Group::Shared)?;
    let mut text = String::new();
    output
        .rewind()
        .and_then(|()| output.read_to_string(&mut text))
        .map_err(TaskError::io("reading what `chatsphere openapi` printed"))?;
    tidy(&text).ok_or_else(|| TaskError::failed("`chatsphere openapi` printed no JSON"))
}

fn read(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        result => result.map_err(TaskError::at("reading", file)),
    }
}

/// The document with exactly one line break at its end.
fn tidy(text: &str) -> Option<String> {
    let text = text.trim();
    (text.starts_with('{') && text.ends_with('}')).then(|| format!("{text}\n"))
}

fn first_difference(committed: &str, made: &str) -> String {
    let (mut old, mut new) = (committed.lines(), made.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (old, new) if old != new => {
                let (old, new) = (old.unwrap_or("(nothing)"), new.unwrap_or("(nothing)"));
                return format!("line {number}\n- {old}\n+ {new}");
            }
            _ => {}
        }
    }
    "only the line breaks differ".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_shown() {
        assert_eq!(first_difference("{\n  1\n}\n", "{\n  2\n}\n"), "line 2\n-   1\n+   2");
        assert_eq!(first_difference("{", "{\n}"), "line 2\n- (nothing)\n+ }");
        assert_eq!(first_difference("{}\r\n", "{}\n"), "only the line breaks differ");
    }

    #[test]
    fn only_a_document_is_written() {
        assert_eq!(tidy(" {\"a\":1}\n\n").as_deref(), Some("{\"a\":1}\n"));
        assert_eq!(tidy("error: no such command"), None);
        assert_eq!(tidy(""), None);
    }
}
