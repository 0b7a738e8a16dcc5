use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /api/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health<'a> {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: Cow<'a, str>,
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub version: Cow<'a, str>,
}

/// The answer to `GET /readyz` while the node accepts work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready<'a> {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: Cow<'a, str>,
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub version: Cow<'a, str>,
    /// The state of the node's NATS connection; absent without `NATS_URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<BusState<'a>>,
    /// The connections that receive this node's signals, such as typing: those of `all_nodes` or `this_node`.
    #[serde(default)]
    #[schema(example = "this_node")]
    pub signals: Cow<'a, str>,
}

/// Whether the node exchanges events with other nodes over NATS, in milliseconds instead of within 2 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BusState<'a> {
    /// Whether the node is connected to NATS.
    pub connected: bool,
    /// Why the node is not connected: `connecting`, `refused`, `dns`, `tls`, `unauthorized`, `forbidden`, `credentials`,
    /// `timeout` or `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}
