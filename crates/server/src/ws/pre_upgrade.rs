//! The short way in: a handshake on a plain connection, answered without HTTP's machinery, which would cost more than all that
//! an idle connection does for hours.

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

/// Takes what is for this door from a subscriber.
pub struct FastUpgrade {
    state: Arc<WsState>,
    /// At `/ws`, and at `/`.
    opened: [Opened; 2],
}

struct Opened {
    route: &'static str,
    count: Counter,
    seconds: Histogram,
}

impl FastUpgrade {
    /// Install the metrics' recorder first: handles are taken here.
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
    async fn look(&self, request: &Parts) -> Option<TakeOver> {
        let began = Instant::now();
        let mode = Mode::asked(&request.uri, &request.headers)?;
        let asked = Asked { method: &request.method, uri: &request.uri, version: request.version, headers: &request.headers };
        // Whatever is to be refused goes the long way, where it is refused again and told as every other error is.
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

/// The answer that makes a connection a WebSocket (RFC 6455, section 4.2.2).
fn switching(accepted: &Accepted, id: &RequestId) -> Bytes {
    let subprotocol = accepted.subprotocol.map(|name| format!("sec-websocket-protocol: {name}\r\n")).unwrap_or_default();
    Bytes::from(format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\
         {subprotocol}x-request-id: {}\r\n\r\n",
        accepted.accept_key,
        id.as_str()
    ))
}
