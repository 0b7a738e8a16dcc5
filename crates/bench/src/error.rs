//! Why a run could not be made.

use std::io;
use std::path::PathBuf;

/// Why a run could not be made. What a run finds wrong with the server is a violation in its report instead.
#[allow(missing_docs, reason = "the messages name the fields")]
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The token can't be read.
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
    /// A raw socket was answered in another way than expected.
    #[error("{0}")]
    Unexpected(String),
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A distribution can't be kept.
    #[error("can't keep latencies: {0}")]
    Latencies(#[from] hdrhistogram::CreationError),
    /// The report can't be written.
    #[error("can't write the report: {0}")]
    Output(#[from] io::Error),
}
