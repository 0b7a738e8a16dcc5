use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error, `application/problem+json` (RFC 9457, section 3). Tell errors apart by `code`, which is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    /// `about:blank`: the status says what kind it is, `code` which.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "about:blank")]
    pub problem_type: Cow<'a, str>,
    /// The status in words.
    #[schema(value_type = String, example = "Forbidden")]
    pub title: Cow<'a, str>,
    /// The HTTP status.
    #[schema(example = 403)]
    pub status: u16,
    /// What went wrong here, and what to do.
    #[schema(value_type = String)]
    pub detail: Cow<'a, str>,
    /// The stable code.
    #[schema(value_type = String, example = "not_a_member")]
    pub code: Cow<'a, str>,
    /// Names this request in the server's log; also in the header `x-request-id`.
    #[schema(value_type = String)]
    pub request_id: Cow<'a, str>,
    /// The same as `detail`, where the first version's clients look for it.
    #[schema(value_type = String)]
    pub error: Cow<'a, str>,
    /// The fields that break a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError<'a>>,
}

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError<'a> {
    /// Its name, with dots where it lies deeper.
    #[schema(value_type = String, example = "username")]
    pub field: Cow<'a, str>,
    /// What would be valid.
    #[schema(value_type = String, example = "must have 1 to 64 characters")]
    pub message: Cow<'a, str>,
}
