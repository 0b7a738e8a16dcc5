use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chatsphere_core::{Error, Unavailable};
use chatsphere_protocol::rest::{BusState, Health, Ready};
use chatsphere_realtime::BusStatus;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failure::Failure;
use super::state::HttpState;

/// Timeout of the store for a probe, below the usual probe timeout of one second.
const PING_TIMEOUT: Duration = Duration::from_millis(800);
/// How long the result of a probe is cached.
const PING_KEPT: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(livez)).routes(routes!(readyz))
}

/// Check that the server answers
///
/// Reports the process only, not its database: use `/readyz` for that.
///
/// Who: anyone.
#[utoipa::path(get, path = "/api/health", operation_id = "getHealth", tag = "health",
    responses((status = 200, description = "The process answers", body = Health)))]
async fn health(State(http): State<Arc<HttpState>>) -> Json<Health<'static>> {
    Json(Health { status: "ok".into(), version: http.version.into() })
}

/// Check liveness
///
/// For a supervisor that restarts a process that does not answer. It does not check the database, because a restart would not
/// repair it.
///
/// Who: anyone.
#[utoipa::path(get, path = "/livez", operation_id = "getLiveness", tag = "health",
    responses((status = 200, description = "The process is alive", body = Health)))]
async fn livez(state: State<Arc<HttpState>>) -> Json<Health<'static>> {
    health(state).await
}

/// Check readiness
///
/// For a load balancer. The server queries the database at most once a second. A node without its NATS connection is still
/// ready, because it finds what other nodes write in the database within 2 s; `bus` reports the state. Signals, such as typing,
/// are not in the database. Without NATS they reach only the connections of the same node, and `signals` reports that.
///
/// Who: anyone.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses(
        (status = 200, description = "The node is ready", body = Ready),
        (status = 503, description = "`store_away`: the database does not answer, or does not accept writes. `stopping`: the \
         server is shutting down"),
    ))]
async fn readyz(state: State<Arc<HttpState>>) -> Response {
    match unavailable(&state).await {
        None => Json(ready(&state)).into_response(),
        Some(unavailable) => Failure::from(Error::Unavailable(unavailable)).into_response(),
    }
}

/// Why this node is not ready.
pub(super) async fn unavailable(http: &HttpState) -> Option<Unavailable> {
    if http.readiness.is_draining() {
        Some(Unavailable::Stopping)
    } else if http.probe.answers(http).await {
        None
    } else {
        Some(Unavailable::StoreAway)
    }
}

fn ready(http: &HttpState) -> Ready<'static> {
    let bus = |status: &Arc<BusStatus>| {
        let reason = status.disconnect_reason();
        BusState { connected: reason.is_none(), reason: reason.map(|reason| reason.as_str().into()) }
    };
    let reaches_others = http.bus.as_ref().is_some_and(|status| status.is_connected());
    let signals = if reaches_others { "all_nodes" } else { "this_node" };
    Ready { status: "ok".into(), version: http.version.into(), bus: http.bus.as_ref().map(bus), signals: signals.into() }
}

/// The cached result of the store's last probe.
#[derive(Default)]
pub struct StoreProbe(Mutex<Option<(Instant, bool)>>);

impl StoreProbe {
    async fn answers(&self, http: &HttpState) -> bool {
        // The lock is held during the probe, so that concurrent callers share one result.
        let mut last = self.0.lock().await;
        if let Some((at, answered)) = *last
            && at.elapsed() < PING_KEPT
        {
            return answered;
        }
        let answered = matches!(timeout(PING_TIMEOUT, http.chat.store.ping()).await, Ok(Ok(())));
        *last = Some((Instant::now(), answered));
        answered
    }
}
