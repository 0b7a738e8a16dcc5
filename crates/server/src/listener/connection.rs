//! One HTTP connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request, Version, header};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::body::{AnswerBody, RequestBody};
use super::first_look::{self, FirstLook};
use super::meters::Meters;
use super::refusal::Refusal;
use super::stream::{PeerStream, Slot, Taken, TakenStream, Watched};
use super::tls::Tls;
use super::watch::{Overdue, Watch};
use super::{ListenerOptions, refuse};

/// hyper takes no less.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// How long a first look at a handshake may take.
const LOOK: Duration = Duration::from_secs(2);

/// What all connections of a listener share.
pub(super) struct Http {
    app: Router,
    builder: http1::Builder,
    pub(super) options: ListenerOptions,
    pub(super) meters: Meters,
    pub(super) shutdown: CancellationToken,
    pub(super) abort: CancellationToken,
}

enum Ending {
    Closed,
    Late(Overdue),
    Aborted,
}

impl Http {
    pub(super) fn new(
        app: Router,
        options: ListenerOptions,
        meters: Meters,
        shutdown: CancellationToken,
        abort: CancellationToken,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            // `Watch` keeps the time, all of it.
            .header_read_timeout(None)
            .max_header_size(options.header_bytes)
            // Buffers grow with what a peer sends, up to this. hyper's own 400 KiB would let a head take as much.
            .max_buf_size(options.header_bytes.max(SMALLEST_BUFFER));
        Self { app: app.with_state(()), builder, options, meters, shutdown, abort }
    }

    /// Serves one connection, the TLS handshake included, until it ends or is upgraded.
    pub(super) async fn serve(self: Arc<Self>, tcp: TcpStream, addr: SocketAddr, tls: Option<Tls>, slot: Slot) {
        let _open = self.meters.opened();
        // Small writes are whole answers here; none is to wait for the acknowledgement of the one before.
        let _ = tcp.set_nodelay(true);
        let slot = Arc::new(slot);
        let watch = Watch::new(&self.options);
        let tcp = match (&tls, &self.options.first_look.0) {
            (None, Some(look)) => match self.look_first(&**look, tcp, addr, &slot).await {
                Some(tcp) => tcp,
                None => return,
            },
            _ => tcp,
        };
        let watched = Watched::new(tcp, Arc::clone(&watch));
        let secure = tls.is_some();
        let stream = match tls {
            None => PeerStream::plain(watched, Arc::clone(&slot)),
            Some(tls) => match self.handshake(watched, tls, &slot).await {
                Some(stream) => stream,
                None => return,
            },
        };
        if secure {
            watch.begin();
        }
        let ending = self.http(stream, addr, secure, &watch).await;
        let leftover = watch.take_leftover();
        match (ending, leftover) {
            (Ending::Late(overdue), leftover) => {
                self.meters.timed_out(overdue);
                tracing::debug!(%addr, ?overdue, "connection given up");
                if let (Overdue::Head { started: true }, false, Some(tcp)) = (overdue, secure, leftover) {
                    self.abort.run_until_cancelled(refuse::late_head(tcp)).await;
                }
            }
            (Ending::Closed, Some(tcp)) => {
                self.abort.run_until_cancelled(refuse::linger(tcp)).await;
            }
            (Ending::Closed | Ending::Aborted, _) => {}
        }
    }

    /// Waits for a connection's first bytes and lets `look` judge them. Gives back the connection if it is HTTP's.
    async fn look_first(&self, look: &dyn FirstLook, tcp: TcpStream, addr: SocketAddr, slot: &Arc<Slot>) -> Option<TcpStream> {
        let deadline = Instant::now() + self.options.header_timeout;
        let request = loop {
            let readable = tokio::select! {
                biased;
                readable = timeout_at(deadline, tcp.readable()) => readable,
                // HTTP knows how to end.
                () = self.shutdown.cancelled() => return Some(tcp),
            };
            match readable.map(|readable| readable.and_then(|()| first_look::peek(&tcp))) {
                Ok(Ok(request)) => break request,
                // Readiness is a guess.
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    self.meters.timed_out(Overdue::Head { started: false });
                    return None;
                }
            }
        };
        let Some((mut request, length)) = request else { return Some(tcp) };
        request.extensions.insert(self.options.trusted_proxies.peer(addr, false, &request.headers));
        // Whatever takes long, HTTP has a time-out and an answer for.
        let take_over = tokio::select! {
            biased;
            take_over = look.look(&request) => take_over,
            () = sleep(LOOK) => return Some(tcp),
            () = self.shutdown.cancelled() => return Some(tcp),
        };
        let Some(take_over) = take_over else { return Some(tcp) };
        first_look::consume(&tcp, length).ok()?;
        take_over(Taken { stream: TakenStream::Plain(tcp), read_ahead: Bytes::new(), slot: Some(Arc::clone(slot)) });
        None
    }

    async fn handshake(&self, watched: Watched, tls: Tls, slot: &Arc<Slot>) -> Option<PeerStream> {
        let handshake = timeout(self.options.header_timeout, tls.accept(watched));
        let outcome = tokio::select! {
            outcome = handshake => outcome,
            () = self.shutdown.cancelled() => return None,
        };
        match outcome {
            Ok(Ok(stream)) => Some(PeerStream::tls(stream, Arc::clone(slot))),
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                self.meters.handshake_failed.increment(1);
                None
            }
            Err(_) => {
                self.meters.handshake_late.increment(1);
                None
            }
        }
    }

    async fn http(&self, stream: PeerStream, addr: SocketAddr, secure: bool, watch: &Arc<Watch>) -> Ending {
        let service = service_fn(|request: Request<Incoming>| {
            let in_flight = watch.request();
            let peer = self.options.trusted_proxies.peer(addr, secure, request.headers());
            let host_missing = !names_host(request.headers(), request.version());
            let mut request = request.map(|body| RequestBody::wrap(body, watch, self.options.body_timeout));
            request.extensions_mut().insert(peer);
            // A router is always ready.
            let answer = (!host_missing).then(|| self.app.clone().call(request));
            async move {
                let answer = match answer {
                    Some(answer) => answer.await?,
                    None => Refusal::HostMissing.response(),
                };
                Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, in_flight)))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
        // Tokens of its own, so that connections don't contend for the listener's at every poll.
        let (shutdown, abort) = (self.shutdown.child_token(), self.abort.child_token());
        let mut shutdown = pin!(shutdown.cancelled_owned());
        let mut abort = pin!(abort.cancelled_owned());
        let mut draining = false;
        let mut alarm = pin!(sleep_until(watch.deadline().unwrap_or_else(Instant::now)));
        poll_fn(|cx| {
            loop {
                // Before a shutdown is looked at: a request that has come already is to be answered.
                if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                    if let Err(error) = outcome {
                        tracing::debug!(%addr, %error, "connection ended");
                    }
                    return Poll::Ready(Ending::Closed);
                }
                if draining || shutdown.as_mut().poll(cx).is_pending() {
                    break;
                }
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            if abort.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ending::Aborted);
            }
            // The alarm is moved only when it would ring too late; ringing too early, it looks again.
            if let Some(deadline) = watch.deadline()
                && deadline < alarm.deadline()
            {
                alarm.as_mut().reset(deadline);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                if let Some(overdue) = watch.overdue(now) {
                    return Poll::Ready(Ending::Late(overdue));
                }
                alarm.as_mut().reset(watch.deadline().unwrap_or(now + self.options.idle_timeout));
            }
            Poll::Pending
        })
        .await
    }
}

/// RFC 9112, section 3.2: a request of HTTP/1.1 without `Host`, or with several, is to be refused. hyper leaves that
/// to its user; two hosts are how a request is made to mean one thing to a proxy and another to us.
pub(super) fn names_host(headers: &HeaderMap, version: Version) -> bool {
    let hosts = headers.get_all(header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && version == Version::HTTP_10)
}
