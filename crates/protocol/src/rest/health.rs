use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What `GET /api/health` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health<'a> {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: Cow<'a, str>,
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub version: Cow<'a, str>,
}
