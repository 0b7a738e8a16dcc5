//! The listener below HTTP and WebSocket: limits, timeouts and shutdown of connections.
//!
//! It serves HTTP/1.0 and 1.1, plain or over TLS. Every connection is a task, counts against the limit, and always waits with a
//! deadline: for a head, for a body, for the next request, or for the peer to read. After an upgrade, [`take_stream`] returns
//! the underlying socket, and its new owner is responsible for its timeouts.

mod accept;
mod body;
mod capacity;
mod connection;
mod drain;
mod early_error;
mod head;
mod linger;
mod meters;
mod peer;
mod pre_upgrade;
mod proxies;
mod stream;
mod timer;
mod tls;
mod unread;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use body::BodyTimeout;
pub use capacity::raise_descriptor_limit;
pub use drain::ListenerHandle;
pub use early_error::{EarlyAnswers, EarlyError};
pub use peer::Peer;
pub use pre_upgrade::{PreUpgrade, PreUpgradeHandler, TakeOver};
pub use proxies::{BadNetwork, TrustedProxies};
pub use stream::{Duplex, PeerStream, Slot, Upgraded, UpgradedStream, take_stream};
pub use tls::{Tls, TlsError};

use accept::Accepting;
use connection::Http;
use meters::Meters;

/// The limits and timeouts of a listener.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Maximum time from accepting a connection, or from the first byte of a later request, to the end of the request's head;
    /// also the limit of a TLS handshake.
    pub header_timeout: Duration,
    /// Maximum time that a connection is kept alive without a request.
    pub idle_timeout: Duration,
    /// Maximum time for which a peer reads nothing of a pending answer.
    pub write_timeout: Duration,
    /// Maximum time to wait for a request's body; every 4 KiB received add a second.
    pub body_timeout: Duration,
    /// Maximum size of a request's head in bytes, including the request line; larger ones get 431. At most 100 fields.
    pub header_bytes: usize,
    /// Maximum number of connections, including upgraded ones. The process's limit of open files may allow fewer: see
    /// [`ListenerHandle::capacity`].
    pub connections: usize,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Certificate and key. `None` means plain HTTP, for a proxy in front.
    pub tls: Option<Tls>,
    /// Handler that may take over plain connections before HTTP.
    pub pre_upgrade: PreUpgradeHandler,
    /// Builds the answers to requests that never reach the router.
    pub early_answers: EarlyAnswers,
}

impl Default for ListenerOptions {
    /// 10 s for a head, 75 s between requests, 30 s for a body and for a peer that reads nothing; heads of 64 KiB; 100,000
    /// connections.
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            // A token with 1,000 rooms takes 52 KiB of the `Authorization` field.
            header_bytes: 64 * 1024,
            connections: 100_000,
            trusted_proxies: TrustedProxies::default(),
            tls: None,
            pre_upgrade: PreUpgradeHandler::default(),
            early_answers: EarlyAnswers::default(),
        }
    }
}

/// Serves `app` on `listener` until `shutdown` is cancelled. Then it accepts no more connections, closes idle ones, and answers
/// requests in flight with `Connection: close`. [`ListenerHandle::drained`] waits for their end.
///
/// Every request carries a [`Peer`] in its extensions. Install the metrics recorder first: the handles are created here.
///
/// # Errors
/// If the socket's address is unknown, or no descriptor is left for the reserve.
pub fn serve(
    listener: TcpListener,
    app: Router,
    options: ListenerOptions,
    shutdown: CancellationToken,
) -> io::Result<ListenerHandle> {
    let local_addr = listener.local_addr()?;
    let capacity = capacity::of(options.connections);
    if capacity < options.connections {
        // Common on an unconfigured machine and enough for most; `doctor` reports where it is not.
        tracing::info!(capacity, at_most = options.connections, "the limit of open files bounds the connections");
    }
    let shutdown = shutdown.child_token();
    let abort = CancellationToken::new();
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(capacity));
    let tls = options.tls.clone();
    let http = Arc::new(Http::new(app, options, Meters::register(), shutdown.clone(), abort.clone()));
    let accepting = Accepting::new(listener, tls, http, slots, tasks.clone())?;
    let ended = CancellationToken::new();
    let end = ended.clone().drop_guard();
    tasks.spawn(async move {
        let _end = end;
        accepting.run().await;
    });
    Ok(ListenerHandle::new(local_addr, capacity, shutdown, abort, tasks, ended))
}
