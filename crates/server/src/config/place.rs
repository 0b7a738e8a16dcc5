//! Where a setting was found, and what is wrong there.

use std::fmt;
use std::path::PathBuf;

/// Where a setting's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nobody set it.
    Default,
    /// `chatsphere.toml`, or the file that `--config` names.
    File {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// The key, unless the file as a whole can't be read.
        key: Option<String>,
    },
    /// `.env` in the working directory.
    DotEnv {
        /// Where in it, from 1.
        line: usize,
        /// The variable, unless the line can't be read.
        name: Option<String>,
    },
    /// The environment.
    Environment {
        /// The variable.
        name: String,
    },
    /// The command line.
    Flag {
        /// Without the two hyphens.
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

/// Something wrong in the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What, and what would be right.
    pub message: String,
}

impl Mistake {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// All that is wrong in the configuration: told at once, so that mending it takes one round.
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
