//! What a check found.

use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to do about it, if it is not in order.
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

    /// From an error whose first line says what is wrong, and the others what to do.
    pub(super) fn from_error(check: &'static str, message: &str) -> Self {
        let (found, to_do) = message.split_once('\n').unwrap_or((message, "see what the log of the server says"));
        Self::wrong(check, found, to_do)
    }
}
