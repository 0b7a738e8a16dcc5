use std::io;
use std::path::PathBuf;

/// Why a run could not be made. What a run finds wrong with the server is a violation in its report instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// The token can't be read.
    #[error("can't read the token in {path}: {source}")]
    TokenFile { path: PathBuf, source: io::Error },
    /// A REST call failed.
    #[error("{what}: {source}")]
    Call { what: &'static str, source: chatsphere_client::Error },
    /// Something of this machine failed: a process, a file, a signal.
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    /// The server did not do what the run needs.
    #[error("{0}")]
    Unexpected(String),
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The report can't be written.
    #[error("can't write the report: {0}")]
    Output(#[from] io::Error),
}
