//! Why a task stopped, and the exit code that says so.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The task itself found something wrong; the text says what and what to do.
    #[error("{0}")]
    Failed(String),
    /// A program that the task ran failed and has already said why.
    #[error("{what} failed ({status})")]
    Program {
        /// The program, as one would type it.
        what: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system answered.
        source: io::Error,
    },
    /// Someone pressed Ctrl-C, or the process was told to end.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

impl TaskError {
    /// The task failed for a reason of its own.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// For `map_err` on an I/O result: `what` was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err` on an I/O result that concerns a path.
    pub(crate) fn at(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()))
    }

    /// What `xtask` exits with: the program's own code where one failed.
    pub(crate) fn exit_code(&self) -> u8 {
        use std::os::unix::process::ExitStatusExt;
        match self {
            Self::Program { status, .. } => {
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
                code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
            }
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Self::Failed(_) | Self::Io { .. } => 1,
        }
    }
}

/// What a task gives back.
pub(crate) type Result<T = ()> = std::result::Result<T, TaskError>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn program(raw: i32) -> TaskError {
        TaskError::Program { what: "cargo test".into(), status: ExitStatus::from_raw(raw) }
    }

    #[test]
    fn the_exit_code_is_that_of_the_program() {
        assert_eq!(program(101 << 8).exit_code(), 101);
        assert_eq!(program(9).exit_code(), 137, "killed by a signal, as shells say it");
        assert_eq!(TaskError::Interrupted(2).exit_code(), 130);
        assert_eq!(TaskError::failed("no").exit_code(), 1);
    }
}
