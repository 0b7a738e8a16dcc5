//! The timeouts of a connection: what it waits for, and its deadline.
//!
//! hyper has a single timeout, for reading a head, which starts after the previous answer: a kept-alive connection would be
//! closed as early as one with an unfinished head. hyper also does not limit how long a peer leaves an answer unread. Therefore
//! the socket reports its progress here, and the connection's task keeps one alarm.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use hyper::body::{Body as _, Incoming};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ListenerOptions;
use super::early_error::EarlyError;
use super::head::Head;
use super::unread::SHORT_BODY;

/// Shared by a connection's task, its socket and its bodies.
#[derive(Debug)]
pub(super) struct ConnectionTimer {
    header: Duration,
    idle: Duration,
    write: Duration,
    state: Mutex<State>,
}

/// Why a connection timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of a request did not end; without `started` no byte of it arrived.
    Head { started: bool },
    /// No further request arrived.
    Idle,
    /// The peer does not read.
    Write,
}

#[derive(Debug)]
struct State {
    waiting_for: WaitingFor,
    since: Instant,
    in_flight: usize,
    /// hyper may still hold bytes of an answer.
    unflushed: bool,
    unread_since: Option<Instant>,
    /// The head that is awaited or being received.
    head: Head,
    /// The remainder of a body that its handler dropped.
    abandoned: Option<Abandoned>,
    /// A request's body was not read completely; more of it may arrive.
    body_unread: bool,
    peer_closed: bool,
    leftover: Option<TcpStream>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitingFor {
    Head { started: bool },
    Answer,
    NextRequest,
}

/// The unread remainder of a request's body.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) incoming: Incoming,
    /// The client awaits `100 Continue`, and sends no body after a final answer.
    pub(super) awaited: bool,
    /// It exceeded its deadline.
    pub(super) late: bool,
}

/// A request in progress, from its head to the last byte of the response body.
#[derive(Debug)]
pub(super) struct InFlight(Arc<ConnectionTimer>);

impl ConnectionTimer {
    pub(super) fn new(options: &ListenerOptions) -> Arc<Self> {
        Arc::new(Self {
            header: options.header_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
            state: Mutex::new(State {
                waiting_for: WaitingFor::Head { started: false },
                since: Instant::now(),
                in_flight: 0,
                unflushed: false,
                unread_since: None,
                head: Head::default(),
                abandoned: None,
                body_unread: false,
                peer_closed: false,
                leftover: None,
            }),
        })
    }

    /// Starts the deadline of the first head, after the TLS handshake.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.waiting_for = WaitingFor::Head { started: false };
        state.since = Instant::now();
    }

    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.state();
        if bytes == 0 {
            state.peer_closed = true;
            return;
        }
        match state.waiting_for {
            WaitingFor::NextRequest => {
                state.waiting_for = WaitingFor::Head { started: true };
                state.since = Instant::now();
                state.head.clear();
            }
            WaitingFor::Head { .. } => state.waiting_for = WaitingFor::Head { started: true },
            WaitingFor::Answer => {}
        }
    }

    pub(super) fn write_blocked(&self) {
        self.state().unread_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn wrote(&self) {
        let mut state = self.state();
        if state.unread_since.take().is_some() && state.waiting_for == WaitingFor::NextRequest {
            // hyper passes an answer on before the socket sends it; idle time begins with the last byte.
            state.since = Instant::now();
        }
    }

    /// Parses bytes that hyper reads, as far as they belong to a request's head. The heads of pipelined requests are not
    /// tracked.
    pub(super) fn seen(&self, bytes: &[u8]) {
        let mut state = self.state();
        if matches!(state.waiting_for, WaitingFor::Head { .. }) {
            state.head.feed(bytes);
        }
    }

    pub(super) fn body_abandoned(&self, body: Abandoned) {
        let mut state = self.state();
        state.body_unread = true;
        state.abandoned = Some(body);
    }

    /// Whether the unread remainder of a request's body is too long to keep the connection.
    pub(super) fn closes_behind_answer(&self) -> bool {
        self.state().abandoned.as_ref().is_some_and(|body| {
            body.awaited || body.late || body.incoming.size_hint().exact().is_none_or(|left| left > SHORT_BODY)
        })
    }

    pub(super) fn take_abandoned(&self) -> Option<Abandoned> {
        self.state().abandoned.take()
    }

    /// The body was received completely.
    pub(super) fn body_ended(&self) {
        self.state().body_unread = false;
    }

    /// Begins a request; also returns whether its head has two lengths.
    pub(super) fn request(self: &Arc<Self>) -> (InFlight, bool) {
        let two_lengths = {
            let mut state = self.state();
            let two_lengths = state.head.has_two_lengths();
            state.head.clear();
            two_lengths
        };
        (self.in_flight(), two_lengths)
    }

    /// Marks the connection as not idle.
    pub(super) fn in_flight(self: &Arc<Self>) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.unflushed = true;
        state.waiting_for = WaitingFor::Answer;
        InFlight(Arc::clone(self))
    }

    /// The method and CORS fields of the last head.
    pub(super) fn head(&self) -> (Method, HeaderMap) {
        let state = self.state();
        (state.head.method(), state.head.fields().clone())
    }

    /// The precise error behind hyper's, using the parsed head.
    pub(super) fn early_error(&self, hypers: EarlyError) -> EarlyError {
        let state = self.state();
        match hypers {
            EarlyError::Malformed if state.head.has_two_lengths() => EarlyError::TwoLengths,
            EarlyError::Malformed if state.head.has_unknown_coding() => EarlyError::UnknownCoding,
            other => other,
        }
    }

    /// Whether the router is handling a request or hyper holds bytes of an answer.
    pub(super) fn is_answering(&self) -> bool {
        self.state().unflushed
    }

    /// Everything written from now on belongs to an answer.
    pub(super) fn answering(&self) {
        self.state().unflushed = true;
    }

    /// hyper has flushed all bytes.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.unflushed = state.in_flight > 0;
    }

    /// Restarts the current deadline after the process was suspended, because data that arrived meanwhile is not read yet.
    pub(super) fn begin_again(&self, now: Instant) {
        let mut state = self.state();
        state.since = now;
        state.unread_since = state.unread_since.map(|_| now);
    }

    /// The deadline of the connection; `None` while it waits for the server.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.wait().map(|(deadline, _)| deadline)
    }

    pub(super) fn overdue(&self, now: Instant) -> Option<Overdue> {
        self.wait().filter(|(deadline, _)| *deadline <= now).map(|(_, overdue)| overdue)
    }

    fn wait(&self) -> Option<(Instant, Overdue)> {
        let state = self.state();
        if let Some(since) = state.unread_since {
            return Some((since + self.write, Overdue::Write));
        }
        match state.waiting_for {
            WaitingFor::Head { started } => Some((state.since + self.header, Overdue::Head { started })),
            WaitingFor::NextRequest => Some((state.since + self.idle, Overdue::Idle)),
            WaitingFor::Answer => None,
        }
    }

    /// Keeps the socket when hyper drops it, if closing it now could destroy the answer: while the peer is still sending, the
    /// system would reset the connection (RFC 9112, section 9.6).
    pub(super) fn leave(&self, tcp: TcpStream) {
        let mut state = self.state();
        let in_head = matches!(state.waiting_for, WaitingFor::Head { started: true });
        if !state.peer_closed && (in_head || state.body_unread) {
            state.leftover = Some(tcp);
        }
    }

    pub(super) fn take_leftover(&self) -> Option<TcpStream> {
        self.state().leftover.take()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.waiting_for = WaitingFor::NextRequest;
            state.since = Instant::now();
        }
    }
}
