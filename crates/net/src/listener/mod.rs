//! The accept loop beneath HTTP and WebSocket: who may connect, for how long a silent peer is borne with, and how all of
//! it ends.
//!
//! HTTP/1.0 and 1.1 alone, plain or over TLS. Every connection is a task, is counted, and is always waiting with a
//! deadline: for a head, for a body, for the next request, or for the peer to read. An upgrade leaves HTTP behind:
//! [`take_stream`] hands over the socket beneath, and from then on its new owner watches over it.

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

/// What the listener allows and for how long it waits.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Longest time from accepting a connection, or from the first byte of a later request, to the end of the request's
    /// head; also the longest a TLS handshake takes.
    pub header_timeout: Duration,
    /// Longest time that a connection may be kept alive without a request.
    pub idle_timeout: Duration,
    /// Longest time in which a peer that has an answer to read reads nothing of it.
    pub write_timeout: Duration,
    /// Longest time to wait for a request's body; every 4 KiB that arrive add a second.
    pub body_timeout: Duration,
    /// Largest head of a request, in bytes, request line included; above it the answer is 431. At most 100 fields.
    pub header_bytes: usize,
    /// Connections held at once, upgraded ones included. The process's limit of open files may allow fewer: see
    /// [`ListenerHandle::capacity`].
    pub connections: usize,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: TrustedProxies,
    /// Certificate and key; none: plain HTTP, for a proxy in front.
    pub tls: Option<Tls>,
    /// Who may take plain connections over before HTTP gets them.
    pub pre_upgrade: PreUpgradeHandler,
    /// Makes the answers to requests that never reach the router.
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
            // A token that names 1,000 rooms takes 52 KiB of its `Authorization` field.
            header_bytes: 64 * 1024,
            connections: 100_000,
            trusted_proxies: TrustedProxies::default(),
            tls: None,
            pre_upgrade: PreUpgradeHandler::default(),
            early_answers: EarlyAnswers::default(),
        }
    }
}

/// Serves `app` on `listener` until `shutdown` is cancelled: then nothing more is accepted, idle connections are closed,
/// and requests in flight are answered with `Connection: close`. [`ListenerHandle::drained`] waits for their end.
///
/// Every request carries a [`Peer`] among its extensions. Install the metrics' recorder first: handles are taken here.
///
/// # Errors
/// If the socket doesn't tell its address, or no descriptor is left for the reserve.
pub fn serve(
    listener: TcpListener,
    app: Router,
    options: ListenerOptions,
    shutdown: CancellationToken,
) -> io::Result<ListenerHandle> {
    let local_addr = listener.local_addr()?;
    let capacity = capacity::of(options.connections);
    if capacity < options.connections {
        // Usual on a machine that nobody has prepared, and enough for most: the doctor tells where it is too few.
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
