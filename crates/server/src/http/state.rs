use std::sync::Arc;

use chatsphere_core::AppContext;
use chatsphere_realtime::BusStatus;

use super::demo::Demo;
use super::health::StoreProbe;
use super::metrics::MetricsAccess;
use crate::auth::{ContentKey, Keys};
use crate::request::AllowedOrigins;

/// The state of the REST front door.
pub struct HttpState {
    /// The context of ops.
    pub chat: Arc<AppContext>,
    /// Signs and verifies tokens.
    pub keys: Arc<Keys>,
    /// The key of hashes of contents.
    pub content_key: ContentKey,
    /// The origins whose pages may call.
    pub origins: AllowedOrigins,
    /// Whether this node accepts new work.
    pub readiness: Arc<dyn Readiness>,
    /// The cached result of the store's last probe.
    pub probe: StoreProbe,
    /// Renders all metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who may read them, besides privileged callers.
    pub metrics_access: MetricsAccess,
    /// The demo page, if enabled.
    pub demo: Option<Arc<Demo>>,
    /// The bus of a cluster.
    pub bus: Option<Arc<BusStatus>>,
    /// The program's version, reported by `GET /api/health`.
    pub version: &'static str,
}

impl HttpState {
    /// A state with any origin allowed, ready while the store answers, without metrics and demo.
    pub fn new(chat: Arc<AppContext>, keys: Arc<Keys>, content_key: ContentKey) -> Self {
        Self {
            chat,
            keys,
            content_key,
            origins: AllowedOrigins::Any,
            readiness: Arc::new(AlwaysReady),
            probe: StoreProbe::default(),
            metrics: Arc::new(String::new),
            metrics_access: MetricsAccess::default(),
            demo: None,
            bus: None,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Whether this node accepts new work.
pub trait Readiness: Send + Sync + 'static {
    /// The server is shutting down: load balancers must send new work elsewhere.
    fn is_draining(&self) -> bool;
}

struct AlwaysReady;

impl Readiness for AlwaysReady {
    fn is_draining(&self) -> bool {
        false
    }
}
