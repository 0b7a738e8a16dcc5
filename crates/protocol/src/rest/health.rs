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

/// What `GET /readyz` answers while the node wants work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready<'a> {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: Cow<'a, str>,
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub version: Cow<'a, str>,
    /// The bus between the nodes of a cluster; absent without `NATS_URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<BusState<'a>>,
    /// Which connections this node's signals reach, such as typing: those of `all_nodes`, or of `this_node`.
    #[serde(default)]
    #[schema(example = "this_node")]
    pub signals: Cow<'a, str>,
}

/// Whether the nodes of a cluster hear each other at once, rather than within 2 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BusState<'a> {
    /// They do.
    pub connected: bool,
    /// Why they don't: `connecting`, `refused`, `dns`, `tls`, `unauthorized`, `forbidden`, `credentials`, `timeout` or `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}
