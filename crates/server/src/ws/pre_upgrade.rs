//! The fast path for handshakes on plain connections, without the HTTP stack, which would cost more than an idle connection
//! does in hours.

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::request::Parts;
use bytes::Bytes;
use chatsphere_net::listener::{Peer, PreUpgrade, TakeOver};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use super::WsState;
use super::connection::{self, Opening};
use super::upgrade::{Accepted, Asked, Mode, decide};
use crate::request::RequestId;

/// Takes over WebSocket handshakes from the listener.
pub struct FastUpgrade {
    state: Arc<WsState>,
    /// The counters of `/ws` and of `/`.
    opened: [Opened; 2],
}

struct Opened {
    route: &'static str,
    count: Counter,
    seconds: Histogram,
}

impl FastUpgrade {
    /// Install the metrics recorder first: the handles are created here.
    pub fn new(state: Arc<WsState>) -> Self {
        let opened = |route| Opened {
            route,
            count: counter!("chatsphere_http_requests_total", "method" => "GET", "route" => route, "status" => "101"),
            seconds: histogram!("chatsphere_http_request_seconds", "route" => route),
        };
        Self { state, opened: ["/ws", "/"].map(opened) }
    }
}

#[async_trait]
impl PreUpgrade for FastUpgrade {
    async fn inspect(&self, request: &Parts) -> Option<TakeOver> {
        let began = Instant::now();
        let mode = Mode::asked(&request.uri, &request.headers)?;
        let asked = Asked { method: &request.method, uri: &request.uri, version: request.version, headers: &request.headers };
        // A handshake to be rejected takes the HTTP path, which rejects it again and reports it like other errors.
        let Ok(Ok(accepted)) = decide(&self.state, asked).await else { return None };
        let id = RequestId::take(&request.headers);
        let [many, one] = &self.opened;
        let opened = match mode {
            Mode::ManyRooms => many,
            Mode::OneRoom => one,
        };
        tracing::debug!(id = id.as_str(), route = opened.route, status = 101, "answered");
        opened.count.increment(1);
        opened.seconds.record(began.elapsed().as_secs_f64());
        let client = request.extensions.get::<Peer>().map(|peer| peer.addr.ip());
        let (state, answer) = (self.state.clone(), switching(&accepted, &id));
        Some(Box::new(move |taken| {
            let opening = Opening { taken, mode, credentials: accepted.credentials, answer, client };
            state.tasks.clone().spawn(connection::run(state, opening));
        }))
    }
}

/// The response that switches protocols (RFC 6455, section 4.2.2).
fn switching(accepted: &Accepted, id: &RequestId) -> Bytes {
    let subprotocol = accepted.subprotocol.map(|name| format!("sec-websocket-protocol: {name}\r\n")).unwrap_or_default();
    Bytes::from(format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\
         {subprotocol}x-request-id: {}\r\n\r\n",
        accepted.accept_key,
        id.as_str()
    ))
}
