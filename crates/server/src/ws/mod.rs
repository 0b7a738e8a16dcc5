//! The WebSocket front door: at `/ws` a connection joins many rooms, at `/`, as in the first version, one at a time.
//!
//! A connection is one task. It reads frames, runs one op for each and sends the answers through the connection's
//! [`Outbound`](chatsphere_realtime::Outbound), which the hub's fan-out writes to as well.

mod answers;
mod authentication;
mod closes;
mod connection;
mod ending;
mod first_look;
mod flood;
mod frames;
mod in_turn;
mod reader;
mod requests;
mod sessions;
mod times;
mod unanswered;
mod upgrade;
mod watched;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use chatsphere_core::Chat;
use chatsphere_realtime::Hub;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Keys;
use crate::request::AllowedOrigins;

pub use first_look::Door;
pub use sessions::Sessions;
pub use times::Times;
use upgrade::Mode;

/// What the WebSocket front door needs.
pub struct WsState {
    /// What ops need.
    pub chat: Arc<Chat>,
    /// Verifies tokens.
    pub keys: Arc<Keys>,
    /// Who listens where.
    pub hub: Arc<Hub>,
    /// The connections of this node.
    pub sessions: Arc<Sessions>,
    /// Whose pages may connect.
    pub origins: AllowedOrigins,
    /// Cancelled when the server stops: connections finish what they accepted and are closed with 1001.
    pub stopping: CancellationToken,
    /// Every connection's task.
    pub tasks: TaskTracker,
}

/// Puts this door before a router: what is for it never gets there.
pub fn before<S: Clone + Send + Sync + 'static>(state: Arc<WsState>, router: Router<S>) -> Router<S> {
    router.layer(from_fn_with_state(state, upgrade::intercept))
}
