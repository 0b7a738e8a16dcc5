use std::sync::Arc;

use chatsphere_core::AppContext;
use chatsphere_realtime::BusStatus;

use super::demo::Demo;
use super::health::StoreProbe;
use super::metrics::MetricsAccess;
use crate::auth::Keys;
use crate::request::AllowedOrigins;

/// What the REST front door needs.
pub struct HttpState {
    /// What ops need.
    pub chat: Arc<AppContext>,
    /// Signs and verifies tokens.
    pub keys: Arc<Keys>,
    /// Whose pages may call.
    pub origins: AllowedOrigins,
    /// Whether this node still wants new work.
    pub readiness: Arc<dyn Readiness>,
    /// Whether the store answered when it was asked last.
    pub probe: StoreProbe,
    /// Renders all metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who may read them besides the privileged.
    pub metrics_access: MetricsAccess,
    /// The demo page, where it is served.
    pub demo: Option<Arc<Demo>>,
    /// The bus of a cluster.
    pub bus: Option<Arc<BusStatus>>,
    /// The program's version, told by `GET /api/health`.
    pub version: &'static str,
}

impl HttpState {
    /// With any origin allowed, always ready while the store answers, no metrics and no demo.
    pub fn new(chat: Arc<AppContext>, keys: Arc<Keys>) -> Self {
        Self {
            chat,
            keys,
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

/// Whether this node still wants new work.
pub trait Readiness: Send + Sync + 'static {
    /// The server is on its way down: load balancers are to send new work elsewhere.
    fn is_draining(&self) -> bool;
}

struct AlwaysReady;

impl Readiness for AlwaysReady {
    fn is_draining(&self) -> bool {
        false
    }
}
