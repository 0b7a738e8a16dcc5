//! The result of a check.

use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// The result in words.
    pub found: String,
    /// How to fix it, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_do: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, ok: true, found: found.into(), to_do: None }
    }

    pub(super) fn wrong(check: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { check, ok: false, found: found.into(), to_do: Some(to_do.into()) }
    }

    /// From an error whose first line describes the problem, and the others the remedy.
    pub(super) fn from_error(check: &'static str, message: &str) -> Self {
        let (found, to_do) = message.split_once('\n').unwrap_or((message, "see what the log of the server says"));
        Self::wrong(check, found, to_do)
    }
}
