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

/// How long the store may take to answer a probe: below the time-out of the usual probes, a second.
const PING_TIMEOUT: Duration = Duration::from_millis(800);
/// Many probes ask the store once in this time.
const PING_KEPT: Duration = Duration::from_secs(1);

pub(crate) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(livez)).routes(routes!(readyz))
}

/// Is the server there?
///
/// Says that the process answers, not that its database does: for that ask `/readyz`.
///
/// Who: anyone.
#[utoipa::path(get, path = "/api/health", operation_id = "getHealth", tag = "health",
    responses((status = 200, description = "It is", body = Health)))]
async fn health(State(http): State<Arc<HttpState>>) -> Json<Health<'static>> {
    Json(Health { status: "ok".into(), version: http.version.into() })
}

/// Does the process live?
///
/// For a supervisor that restarts what does not answer. Knows nothing of the database: a restart would not bring it back.
///
/// Who: anyone.
#[utoipa::path(get, path = "/livez", operation_id = "getLiveness", tag = "health",
    responses((status = 200, description = "It does", body = Health)))]
async fn livez(state: State<Arc<HttpState>>) -> Json<Health<'static>> {
    health(state).await
}

/// Does this node want work?
///
/// For a load balancer. The database is asked at most once a second. A node whose bus is away is ready all the same, since it
/// finds what other nodes write in the database, within 2 s; `bus` tells of it. Signals, such as typing, are in no database:
/// without the bus they reach the connections of this node alone, and `signals` tells of that.
///
/// Who: anyone.
#[utoipa::path(get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses(
        (status = 200, description = "It does", body = Ready),
        (status = 503, description = "`store_away`: the database does not answer, or takes no writes. `stopping`: the server \
         is on its way down"),
    ))]
async fn readyz(state: State<Arc<HttpState>>) -> Response {
    match outage(&state).await {
        None => Json(ready(&state)).into_response(),
        Some(outage) => Failure::from(Error::Unavailable(outage)).into_response(),
    }
}

/// Why this node wants no work.
pub(super) async fn outage(http: &HttpState) -> Option<Unavailable> {
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
        let away = status.away();
        BusState { connected: away.is_none(), reason: away.map(|away| away.as_str().into()) }
    };
    let reaches_others = http.bus.as_ref().is_some_and(|status| status.is_connected());
    let signals = if reaches_others { "all_nodes" } else { "this_node" };
    Ready { status: "ok".into(), version: http.version.into(), bus: http.bus.as_ref().map(bus), signals: signals.into() }
}

/// Whether the store answered when it was asked last.
#[derive(Default)]
pub struct StoreProbe(Mutex<Option<(Instant, bool)>>);

impl StoreProbe {
    async fn answers(&self, http: &HttpState) -> bool {
        // The lock is held while asking, so that probes at the same moment share one answer.
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
