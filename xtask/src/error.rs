//! Errors of tasks and their exit codes.

use std::io;
use std::path::Path;
use std::process::ExitStatus;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TaskError {
    /// The task found a problem; the text describes it and the remedy.
    #[error("{0}")]
    Failed(String),
    /// A program failed and has already printed its error.
    #[error("{what} failed ({status})")]
    Program {
        /// The program, as typed.
        what: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// The operating system reported an error.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The system's error.
        source: io::Error,
    },
    /// The process was interrupted by Ctrl-C or another signal.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

impl TaskError {
    /// A failure of the task itself.
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    /// For `map_err` on an I/O result: `what` names the operation.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err` on an I/O result that concerns a path.
    pub(crate) fn at(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()))
    }

    /// The exit code of `xtask`: that of a failed program, if any.
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

/// The result of a task.
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
