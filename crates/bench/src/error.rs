//! Errors that prevent a run.

use std::io;
use std::path::PathBuf;

/// Why a run failed. Faults of the server that a run finds are violations in its report instead.
#[allow(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token is unreadable.
    #[error("can't read the token in {path}: {source}")]
    TokenFile { path: PathBuf, source: io::Error },
    /// A REST call failed.
    #[error("{what}: {source}")]
    Call { what: &'static str, source: chatsphere_client::Error },
    /// A join or a message failed.
    #[error("{what}: {source}")]
    Request { what: &'static str, source: chatsphere_client::RequestError },
    /// A raw socket failed.
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    /// A raw socket got an unexpected answer.
    #[error("{0}")]
    Unexpected(String),
    /// The arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// A histogram could not be created.
    #[error("can't keep latencies: {0}")]
    Latencies(#[from] hdrhistogram::CreationError),
    /// The report could not be written.
    #[error("can't write the report: {0}")]
    Output(#[from] io::Error),
}
