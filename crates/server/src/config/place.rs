//! The source of a setting's value, and errors in it.

use std::fmt;
use std::path::PathBuf;

/// The source of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The default.
    Default,
    /// `chatsphere.toml`, or the file named by `--config`.
    File {
        /// The path of the file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, unless the file as a whole is unreadable.
        key: Option<String>,
    },
    /// `.env` in the working directory.
    DotEnv {
        /// The line, from 1.
        line: usize,
        /// The variable, unless the line is unreadable.
        name: Option<String>,
    },
    /// The environment.
    Environment {
        /// The variable.
        name: String,
    },
    /// The command line.
    Flag {
        /// The flag without its hyphens.
        name: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, key: Some(key) } => write!(f, "{}:{line}: {key}", path.display()),
            Self::File { path, line, key: None } => write!(f, "{}:{line}", path.display()),
            Self::DotEnv { line, name: Some(name) } => write!(f, ".env:{line}: {name}"),
            Self::DotEnv { line, name: None } => write!(f, ".env:{line}"),
            Self::Environment { name } => write!(f, "environment variable {name}"),
            Self::Flag { name } => write!(f, "--{name}"),
        }
    }
}

/// An error in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Mistake {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// All errors in the configuration, reported together so that they can be fixed in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Mistake>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
