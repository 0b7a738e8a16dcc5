//! Serves one HTTP connection from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Request, Version, header};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::ListenerOptions;
use super::body::{AnswerBody, RequestBody};
use super::early_error::EarlyError;
use super::head::is_chunked;
use super::linger::{self, linger};
use super::meters::Meters;
use super::pre_upgrade::{self, PreUpgrade};
use super::stream::{PeerStream, Slot, TimedStream, Upgraded, UpgradedStream};
use super::timer::{Abandoned, ConnectionTimer, Overdue};
use super::tls::Tls;
use super::unread::{Allowance, PATIENT, Step, Unread};
use crate::{LATE, in_time};

/// The smallest buffer that hyper accepts.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// Timeout for examining a handshake before HTTP.
const LOOK: Duration = Duration::from_secs(2);

/// What all connections of a listener share.
pub(super) struct Http {
    app: Router,
    builder: http1::Builder,
    pub(super) options: ListenerOptions,
    pub(super) meters: Meters,
    pub(super) shutdown: CancellationToken,
    pub(super) abort: CancellationToken,
    /// Limits the connections that are drained patiently after their answer.
    patience: Arc<Semaphore>,
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
            // `ConnectionTimer` handles all timeouts.
            .header_read_timeout(None)
            .max_header_size(options.header_bytes)
            // Buffers grow with the peer's data up to this limit. hyper's default of 400 KiB would admit heads of that size.
            .max_buf_size(options.header_bytes.max(SMALLEST_BUFFER));
        let patience = Arc::new(Semaphore::new(PATIENT));
        Self { app: app.with_state(()), builder, options, meters, shutdown, abort, patience }
    }

    /// Serves one connection, including the TLS handshake, until it ends or is upgraded.
    pub(super) async fn serve(self: Arc<Self>, tcp: TcpStream, addr: SocketAddr, tls: Option<Tls>, slot: Slot) {
        let _open = self.meters.opened();
        // Small writes are complete answers here; none may wait for the acknowledgement of the previous one.
        let _ = tcp.set_nodelay(true);
        let slot = Arc::new(slot);
        let timer = ConnectionTimer::new(&self.options);
        let tcp = match (&tls, &self.options.pre_upgrade.0) {
            (None, Some(look)) => match self.look_first(&**look, tcp, addr, &slot).await {
                Some(tcp) => tcp,
                None => return,
            },
            _ => tcp,
        };
        let timed = TimedStream::new(tcp, Arc::clone(&timer));
        let secure = tls.is_some();
        let stream = match tls {
            None => PeerStream::plain(timed, Arc::clone(&slot)),
            Some(tls) => match self.handshake(timed, tls, &slot).await {
                Some(stream) => stream,
                None => return,
            },
        };
        if secure {
            timer.begin();
        }
        let ending = self.http(stream, addr, secure, &timer).await;
        let leftover = timer.take_leftover();
        match (ending, leftover) {
            (Ending::Late(overdue), leftover) => {
                self.meters.timed_out(overdue);
                tracing::debug!(%addr, ?overdue, "connection given up");
                if let (Overdue::Head { started: true }, false, Some(tcp)) = (overdue, secure, leftover) {
                    let answer = self.early_answer(EarlyError::HeadLate, &timer);
                    self.abort.run_until_cancelled(linger::late_head(tcp, &answer)).await;
                }
            }
            (Ending::Closed, Some(tcp)) => {
                let (allowance, _permit) = self.allowance(false);
                self.abort.run_until_cancelled(linger(tcp, allowance)).await;
            }
            (Ending::Closed | Ending::Aborted, _) => {}
        }
    }

    /// Waits for a connection's first bytes and passes a complete head to `look`. Returns the connection if HTTP must serve it.
    async fn look_first(&self, look: &dyn PreUpgrade, tcp: TcpStream, addr: SocketAddr, slot: &Arc<Slot>) -> Option<TcpStream> {
        let mut deadline = Instant::now() + self.options.header_timeout;
        let request = loop {
            let readable = tokio::select! {
                biased;
                readable = timeout_at(deadline, tcp.readable()) => readable,
                // HTTP handles the shutdown.
                () = self.shutdown.cancelled() => return Some(tcp),
            };
            match readable.map(|readable| readable.and_then(|()| pre_upgrade::peek(&tcp))) {
                Ok(Ok(request)) => break request,
                // Readiness may be spurious.
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(Err(_)) => return None,
                // The process was suspended: data that arrived meanwhile is not read yet.
                Err(_) if deadline.elapsed() >= LATE => deadline = Instant::now() + self.options.header_timeout,
                Err(_) => {
                    self.meters.timed_out(Overdue::Head { started: false });
                    return None;
                }
            }
        };
        let Some((mut request, length)) = request else { return Some(tcp) };
        request.extensions.insert(self.options.trusted_proxies.peer(addr, false, &request.headers));
        // If this takes long, HTTP serves the connection, with its own timeout and error.
        let take_over = tokio::select! {
            biased;
            take_over = look.inspect(&request) => take_over,
            () = sleep(LOOK) => return Some(tcp),
            () = self.shutdown.cancelled() => return Some(tcp),
        };
        let Some(take_over) = take_over else { return Some(tcp) };
        pre_upgrade::consume(&tcp, length).ok()?;
        take_over(Upgraded { stream: UpgradedStream::Plain(tcp), read_ahead: Bytes::new(), slot: Some(Arc::clone(slot)) });
        None
    }

    async fn handshake(&self, timed: TimedStream, tls: Tls, slot: &Arc<Slot>) -> Option<PeerStream> {
        let handshake = in_time(self.options.header_timeout, tls.accept(timed));
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

    async fn http(&self, stream: PeerStream, addr: SocketAddr, secure: bool, timer: &Arc<ConnectionTimer>) -> Ending {
        let service = service_fn(|request: Request<Incoming>| {
            let (in_flight, two_lengths) = timer.request();
            let early = early_error(request.headers(), request.version(), two_lengths)
                .map(|error| self.options.early_answers.response(error, request.method(), request.headers()));
            let expected =
                request.headers().get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
            let peer = self.options.trusted_proxies.peer(addr, secure, request.headers());
            let mut request = request.map(|body| RequestBody::wrap(body, expected, timer, self.options.body_timeout));
            request.extensions_mut().insert(peer);
            let answer = match early {
                // A router is always ready.
                None => Ok(self.app.clone().call(request)),
                Some(early) => Err(early),
            };
            async move {
                let mut answer = match answer {
                    Ok(answer) => answer.await?,
                    Err(early) => early,
                };
                if timer.closes_behind_answer() {
                    answer.headers_mut().entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, in_flight)))
            }
        });
        let mut connection = self.builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        // Child tokens, so that connections do not contend for the listener's token at every poll.
        let (shutdown, abort) = (self.shutdown.child_token(), self.abort.child_token());
        let mut shutdown = pin!(shutdown.cancelled_owned());
        let mut abort = pin!(abort.cancelled_owned());
        let mut draining = false;
        let mut unread: Option<Box<Unread>> = None;
        let mut alarm = pin!(sleep_until(timer.deadline().unwrap_or_else(Instant::now)));
        let ending = poll_fn(|cx| {
            loop {
                // Polled before the shutdown, so that a request that has arrived is answered.
                if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
                    if let Err(error) = outcome {
                        tracing::debug!(%addr, %error, "connection ended");
                    }
                    return Poll::Ready(Ending::Closed);
                }
                if let Some(body) = timer.take_abandoned() {
                    unread = Some(Box::new(self.read_on(body, timer, draining)));
                }
                if !draining && shutdown.as_mut().poll(cx).is_ready() {
                    draining = true;
                    Pin::new(&mut connection).graceful_shutdown();
                    if let Some(unread) = &mut unread {
                        unread.hurry();
                    }
                    continue;
                }
                match unread.as_mut().map_or(Step::Waiting, |unread| unread.poll(cx)) {
                    Step::Waiting => break,
                    Step::Read => {}
                    step @ (Step::Ended | Step::GivenUp) => {
                        if step == Step::Ended {
                            timer.body_ended();
                        }
                        unread = None;
                    }
                }
            }
            if abort.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ending::Aborted);
            }
            // The alarm is moved only to an earlier deadline; when it fires too early, the deadline is checked again.
            if let Some(deadline) = timer.deadline()
                && deadline < alarm.deadline()
            {
                alarm.as_mut().reset(deadline);
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                if now.saturating_duration_since(alarm.deadline()) >= LATE {
                    timer.begin_again(now);
                }
                if let Some(overdue) = timer.overdue(now) {
                    return Poll::Ready(Ending::Late(overdue));
                }
                alarm.as_mut().reset(timer.deadline().unwrap_or(now + self.options.idle_timeout));
            }
            Poll::Pending
        })
        .await;
        if let (Ending::Closed, Some(parts)) = (&ending, connection.into_parts()) {
            let mut stream = parts.io.into_inner();
            if let Some(error) = stream.withheld() {
                // Boxed, because it is rare and would enlarge every connection's task.
                Box::pin(self.answer_early(error, stream, timer)).await;
            }
        }
        ending
    }

    /// Answers in place of hyper and shuts down the write side.
    async fn answer_early(&self, error: EarlyError, mut stream: PeerStream, timer: &ConnectionTimer) {
        let answer = self.early_answer(timer.early_error(error), timer);
        let written = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await
        };
        let _ = self.abort.run_until_cancelled(timeout(self.options.write_timeout, written)).await;
    }

    /// The encoded answer to the last head.
    fn early_answer(&self, error: EarlyError, timer: &ConnectionTimer) -> Vec<u8> {
        let (method, fields) = timer.head();
        self.options.early_answers.bytes(error, &method, &fields)
    }
}

impl Http {
    /// Drains the remainder of a body that the handler did not read.
    fn read_on(&self, body: Abandoned, timer: &Arc<ConnectionTimer>, draining: bool) -> Unread {
        // A client that awaits `100 Continue` has got another answer, and a late one has used its time: both are drained
        // briefly.
        let (allowance, permit) = self.allowance(body.awaited || body.late || draining);
        Unread::new(body.incoming, allowance, permit, timer.in_flight())
    }

    /// How much is drained, and for how long. Patient draining needs a permit, and a running server.
    fn allowance(&self, hurried: bool) -> (Allowance, Option<OwnedSemaphorePermit>) {
        if hurried || self.shutdown.is_cancelled() {
            return (Allowance::hurried(), None);
        }
        match Arc::clone(&self.patience).try_acquire_owned() {
            Ok(permit) => (Allowance::patient(), Some(permit)),
            Err(_) => (Allowance::hurried(), None),
        }
    }
}

/// Errors in the request that hyper accepts and HTTP forbids.
fn early_error(headers: &HeaderMap, version: Version, two_lengths: bool) -> Option<EarlyError> {
    if !names_host(headers, version) {
        return Some(EarlyError::HostMissing);
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next()?;
    if two_lengths || headers.contains_key(header::CONTENT_LENGTH) {
        return Some(EarlyError::TwoLengths);
    }
    (codings.next().is_some() || !is_chunked(coding.as_bytes())).then_some(EarlyError::UnknownCoding)
}

/// RFC 9112, section 3.2: an HTTP/1.1 request without `Host`, or with several, must be rejected. hyper leaves that to the
/// application. With two hosts, a proxy and this server could interpret a request differently.
pub(super) fn names_host(headers: &HeaderMap, version: Version) -> bool {
    let hosts = headers.get_all(header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && version == Version::HTTP_10)
}
