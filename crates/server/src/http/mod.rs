//! The REST front door. Each handler decodes a call, runs one op and encodes its answer; the rules are in
//! [`chatsphere_core::ops`].
//!
//! `GET /ws` and upgrades of `GET /` are handled by the WebSocket front door, which precedes these routes.

mod authenticated;
mod body;
mod change;
mod cors;
mod demo;
mod docs;
mod early_error;
mod envelope;
mod failure;
mod health;
mod idempotency;
mod json_list;
mod link;
mod messages;
mod meters;
mod metrics;
mod openapi;
mod options;
mod page;
mod path_ids;
mod paths;
mod prelude;
mod profile;
mod query;
mod reading;
mod room_seq;
mod rooms;
mod root;
mod state;
mod tokens;
mod under_way;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use failure::Failure;
pub(crate) use query::acting_as;

pub use demo::{Demo, DemoInvites};
pub use early_error::early_answers;
pub use health::StoreProbe;
pub use metrics::MetricsAccess;
pub use openapi::{frames_json, openapi, openapi_json};
pub use state::{HttpState, Readiness};

/// The complete REST front door. `before` wraps its routes: it gets each request first, inside the common middleware (request
/// id, log, problem bodies).
pub fn router(state: Arc<HttpState>, before: impl FnOnce(Router<Arc<HttpState>>) -> Router<Arc<HttpState>>) -> Router {
    let (router, _) = api().split_for_parts();
    let router = router.merge(root::routes()).merge(docs::routes()).merge(if state.demo.is_some() {
        demo::routes()
    } else {
        Router::new()
    });
    let enveloping = envelope::Enveloping { http: state.clone(), cors: Arc::new(cors::Cors::new(&state.origins)) };
    let routes = before(router).layer(from_fn_with_state(enveloping, envelope::envelope)).with_state(state);
    paths::forgiving(routes)
}

/// The calls in the API's description.
fn api() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::with_openapi(openapi::head())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(profile::routes())
        .merge(users::routes())
        .merge(rooms::routes())
        .merge(messages::routes())
        .merge(tokens::routes())
}
