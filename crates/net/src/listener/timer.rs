//! What a connection is waiting for, and until when.
//!
//! hyper knows one time-out, for reading a head, and starts it as soon as the answer before is sent: a connection kept
//! alive would be closed as early as a head that never ends. Nor does it bound how long a peer may leave an answer
//! unread. So the socket itself reports what happens on it, and the connection's task keeps one alarm.

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

/// Shared by a connection's task, its socket, and the bodies that pass over it.
#[derive(Debug)]
pub(super) struct ConnectionTimer {
    header: Duration,
    idle: Duration,
    write: Duration,
    state: Mutex<State>,
}

/// Why a connection was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The head of a request did not end; none of it came, if not `started`.
    Head { started: bool },
    /// No further request came.
    Idle,
    /// The peer reads nothing.
    Write,
}

#[derive(Debug)]
struct State {
    waiting_for: WaitingFor,
    since: Instant,
    in_flight: usize,
    /// Bytes of an answer may still be with hyper.
    unflushed: bool,
    unread_since: Option<Instant>,
    /// What is known of the head that is awaited or comes now.
    head: Head,
    /// The rest of a body that nobody reads yet.
    abandoned: Option<Abandoned>,
    /// A request's body was left unread, so that more of it may yet arrive.
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

/// The rest of a request's body, which its reader did not want.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) incoming: Incoming,
    /// The client waits to be told to send it, and won't if the answer is a refusal.
    pub(super) awaited: bool,
    /// It took too long already.
    pub(super) late: bool,
}

/// One request, from its head to the last byte of the answer's body.
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

    /// The time for the first head begins now: what came before was the TLS handshake.
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
            // The answer left hyper's hands before it left the machine; idleness begins with its last byte.
            state.since = Instant::now();
        }
    }

    /// Looks at what HTTP reads, as far as it is a request's head. Of requests that a client sends before the answer to the one
    /// before, hyper's word alone is known.
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

    /// Whether so much of a request's body may be unread that its connection is not kept.
    pub(super) fn closes_behind_answer(&self) -> bool {
        self.state().abandoned.as_ref().is_some_and(|body| {
            body.awaited || body.late || body.incoming.size_hint().exact().is_none_or(|left| left > SHORT_BODY)
        })
    }

    pub(super) fn take_abandoned(&self) -> Option<Abandoned> {
        self.state().abandoned.take()
    }

    /// All of the body has come.
    pub(super) fn body_ended(&self) {
        self.state().body_unread = false;
    }

    /// A request has come; whether it says in two ways how long its body is.
    pub(super) fn request(self: &Arc<Self>) -> (InFlight, bool) {
        let two_lengths = {
            let mut state = self.state();
            let two_lengths = state.head.has_two_lengths();
            state.head.clear();
            two_lengths
        };
        (self.in_flight(), two_lengths)
    }

    /// Keeps the connection from being idle.
    pub(super) fn in_flight(self: &Arc<Self>) -> InFlight {
        let mut state = self.state();
        state.in_flight += 1;
        state.unflushed = true;
        state.waiting_for = WaitingFor::Answer;
        InFlight(Arc::clone(self))
    }

    /// What is known of the head that came last: its method, and its fields that early answers depend on.
    pub(super) fn head(&self) -> (Method, HeaderMap) {
        let state = self.state();
        (state.head.method(), state.head.fields().clone())
    }

    /// What hyper's error means, as far as the head's bytes tell more.
    pub(super) fn early_error(&self, hypers: EarlyError) -> EarlyError {
        let state = self.state();
        match hypers {
            EarlyError::Malformed if state.head.has_two_lengths() => EarlyError::TwoLengths,
            EarlyError::Malformed if state.head.has_unknown_coding() => EarlyError::UnknownCoding,
            other => other,
        }
    }

    /// Whether a request is with the router, or a part of its answer with hyper.
    pub(super) fn is_answering(&self) -> bool {
        self.state().unflushed
    }

    /// What is written from now on is an answer, whoever made it.
    pub(super) fn answering(&self) {
        self.state().unflushed = true;
    }

    /// All that hyper had has left.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.unflushed = state.in_flight > 0;
    }

    /// This process stood still: whatever is waited for has all its time from now on, since what came meanwhile is not read
    /// yet.
    pub(super) fn begin_again(&self, now: Instant) {
        let mut state = self.state();
        state.since = now;
        state.unread_since = state.unread_since.map(|_| now);
    }

    /// When the connection is to be given up if nothing happens. None while the server has the next move.
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

    /// Takes the socket as hyper lets go of it. Kept only where closing it now could destroy the answer: if the peer is
    /// still sending what nobody will read, the system resets the connection (RFC 9112, section 9.6).
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
