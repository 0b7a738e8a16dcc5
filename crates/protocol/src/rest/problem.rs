use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error as `application/problem+json` (RFC 9457, section 3). Programs should tell errors apart by `code`, which is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem<'a> {
    /// Always `about:blank`: `status` and `code` say what kind of error it is.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "about:blank")]
    pub problem_type: Cow<'a, str>,
    /// The name of the HTTP status.
    #[schema(value_type = String, example = "Forbidden")]
    pub title: Cow<'a, str>,
    /// The HTTP status.
    #[schema(example = 403)]
    pub status: u16,
    /// What went wrong and what to do, for people.
    #[schema(value_type = String)]
    pub detail: Cow<'a, str>,
    /// The stable code.
    #[schema(value_type = String, example = "not_a_member")]
    pub code: Cow<'a, str>,
    /// The id of this request in the server's log. The header `x-request-id` has it too.
    #[schema(value_type = String)]
    pub request_id: Cow<'a, str>,
    /// The same as `detail`, for clients of the Node.js version.
    #[schema(value_type = String)]
    pub error: Cow<'a, str>,
    /// The invalid fields of the body or the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError<'a>>,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError<'a> {
    /// The name of the field, with dots for nested fields: `permissions.rooms`.
    #[schema(value_type = String, example = "username")]
    pub field: Cow<'a, str>,
    /// What a valid value is.
    #[schema(value_type = String, example = "must have 1 to 64 characters")]
    pub message: Cow<'a, str>,
}
