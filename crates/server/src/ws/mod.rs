//! The WebSocket front door: at `/ws` a connection joins many rooms; at `/`, as in the first version, one at a time.
//!
//! A connection is one task. It reads frames, runs one op for each and sends the answers through the connection's
//! [`WriteQueue`](chatsphere_realtime::WriteQueue), to which the hub's fan-out writes as well.

mod answers;
mod authentication;
mod closes;
mod connection;
mod connection_registry;
mod ending;
mod frame_rate_limit;
mod frames;
mod heartbeat;
mod in_turn;
mod open_sessions;
mod pre_upgrade;
mod reader;
mod requests;
mod timeouts;
mod upgrade;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use chatsphere_core::AppContext;
use chatsphere_realtime::Hub;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Keys;
use crate::request::AllowedOrigins;

pub use connection_registry::ConnectionRegistry;
pub use pre_upgrade::FastUpgrade;
pub use timeouts::Timeouts;
use upgrade::Mode;

/// The state of the WebSocket front door.
pub struct WsState {
    /// The context of ops.
    pub chat: Arc<AppContext>,
    /// Verifies tokens.
    pub keys: Arc<Keys>,
    /// The subscriptions of connections to rooms.
    pub hub: Arc<Hub>,
    /// The connections of this node.
    pub sessions: Arc<ConnectionRegistry>,
    /// The origins whose pages may connect.
    pub origins: AllowedOrigins,
    /// Cancelled when the server stops: connections finish accepted frames and close with 1001.
    pub stopping: CancellationToken,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

/// Puts the WebSocket front door before a router. WebSocket requests never reach the router.
pub fn before<S: Clone + Send + Sync + 'static>(state: Arc<WsState>, router: Router<S>) -> Router<S> {
    router.layer(from_fn_with_state(state, upgrade::intercept))
}
