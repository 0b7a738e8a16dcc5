//! The write side of one connection: a queue of frames, bounded in bytes.
//!
//! [`WriteQueue::send`] writes a frame to the socket at once, on the caller's thread, if the queue is empty. If the socket
//! would block, or another thread is writing to it, the frame is queued and the connection's task is woken. A caller with
//! several frames for many connections uses [`WriteQueue::cork`] for each frame and [`WriteQueue::uncork`] at the end. Queued
//! frames are written with vectored writes.
//!
//! Frames are never skipped: a queue over its bound, or one that exceeds the budget of its user's connections together, closes
//! the connection with 4008. Only signals are dropped, long before that: [`WriteQueue::send_if_current`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use chatsphere_core::budget::{Account, Owner};
use chatsphere_net::websocket;
use chatsphere_protocol::close;
use chatsphere_protocol::frames::ServerFrame;
use futures_util::task::AtomicWaker;
use rand::Rng;
use rustix::net::SendFlags;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::frame::encode;

/// Maximum number of frames in one vectored write.
const MAX_SLICES: usize = 64;
/// A queue of at most this many bytes is not counted for its user: most wait only for microseconds.
const UNCOUNTED: usize = 8 * 1024;
/// Signals are queued only within this part of the bounds of the queue and of its user. The next page of a replay still fits
/// then, so signals never hold one up.
const PARTS_FOR_SIGNALS: usize = 8;

/// How queued bytes reach the client.
#[derive(Debug)]
pub enum Socket {
    /// A plain TCP socket, to which senders write directly.
    Direct(Arc<TcpStream>),
    /// Any other stream, such as TLS: the connection's task writes what [`WriteQueue::take`] returns.
    Queued,
}

/// The write queue of one connection.
#[derive(Debug)]
pub struct WriteQueue {
    socket: Socket,
    max_bytes: usize,
    state: Mutex<State>,
    /// Set if the connection's task has work: frames are queued, or the connection ends.
    has_work: AtomicBool,
    /// The waker of the connection's task. Smaller than a `Notify` and its waiter.
    worker: AtomicWaker,
    /// Notified when queued bytes were written. Created on first use, because most connections never need it.
    progress: OnceLock<Box<Notify>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Bytes returned by `take` that the task has not written yet.
    taken_bytes: usize,
    /// At most this many of these bytes are signals. They do not count against the bound.
    signal_bytes: usize,
    /// Whether the first queued frame was written in part.
    head_begun: bool,
    /// Queued bytes that the socket has accepted so far.
    taken_by_socket: u64,
    /// A batch is writing a frame to this socket, between [`WriteQueue::begin`] and [`WriteQueue::finish`].
    under_way: bool,
    closing: Option<u16>,
    broken: bool,
    /// The user of the connection, once known.
    owner: Option<Owner>,
    /// The account of the user and the bytes counted there; `None` for most connections at most times.
    counted: Option<(Arc<Account>, usize)>,
}

/// The result of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// The queue is empty, or another thread continues to write it.
    All,
    /// The socket would block.
    Blocked,
    /// The connection ended: a close frame was sent, or the socket broke.
    End,
}

impl WriteQueue {
    /// An empty queue with a bound of `max_bytes`.
    pub fn new(socket: Socket, max_bytes: usize) -> Self {
        Self {
            socket,
            max_bytes,
            state: Mutex::default(),
            has_work: AtomicBool::new(false),
            worker: AtomicWaker::new(),
            progress: OnceLock::new(),
        }
    }

    /// Counts queued bytes for this user, over all of the user's connections.
    pub fn count_for(&self, owner: Owner) {
        let mut state = self.state();
        state.uncount();
        state.owner = Some(owner);
        state.count();
    }

    /// The account of the user for whom queued bytes count.
    pub fn account(&self) -> Option<Arc<Account>> {
        let owner = self.state().owner.clone();
        owner.map(|owner| owner.account())
    }

    /// Sends or queues a frame, or several consecutive frames. After [`WriteQueue::close`] it is discarded.
    pub fn send(&self, frame: Bytes) {
        let mut state = self.state();
        if let Some((socket, frame)) = self.place(&mut state, frame) {
            let sent = write_now(socket, &frame);
            self.sent(&mut state, frame, sent);
        }
    }

    /// Sends a droppable frame: if the client or its user is behind with reading, the frame is dropped. So it never closes the
    /// connection. Returns whether it was sent or queued.
    pub fn send_if_current(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        let waiting = state.waiting_bytes + state.taken_bytes;
        let queued = waiting + frame.len();
        let ended = state.closing.is_some() || state.broken;
        if ended || queued > self.max_bytes / PARTS_FOR_SIGNALS || !state.has_room_for_signals(queued) {
            return false;
        }
        state.signal_bytes = state.signal_bytes.min(waiting) + frame.len();
        if let Some((socket, frame)) = self.place(&mut state, frame) {
            let sent = write_now(socket, &frame);
            self.sent(&mut state, frame, sent);
        }
        true
    }

    /// Begins a [`WriteQueue::send`] for a batch that writes many frames in one system call. The caller writes the returned
    /// frame to the returned socket and passes the result to [`WriteQueue::finish`]; until then other frames are queued. `None`
    /// if the frame was queued or discarded.
    pub(crate) fn begin(&self, frame: Bytes) -> Option<(Arc<TcpStream>, Bytes)> {
        let mut state = self.state();
        let (socket, frame) = self.place(&mut state, frame)?;
        state.under_way = true;
        Some((socket.clone(), frame))
    }

    /// Completes [`WriteQueue::begin`] with the number of bytes that the socket accepted.
    pub(crate) fn finish(&self, frame: Bytes, sent: io::Result<usize>) {
        let mut state = self.state();
        state.under_way = false;
        if state.broken {
            return;
        }
        let came_behind = !state.waiting.is_empty();
        self.sent(&mut state, frame, sent);
        if came_behind && !state.broken {
            self.bound(&mut state);
            if self.write_out(&mut state) != Flushed::All {
                self.wake_worker();
            }
        }
    }

    /// Returns the socket if the frame can be written at once; otherwise queues the frame, or discards it after the end.
    fn place(&self, state: &mut State, frame: Bytes) -> Option<(&Arc<TcpStream>, Bytes)> {
        if state.closing.is_some() || state.broken {
            return None;
        }
        let nothing_waits = state.waiting.is_empty() && !state.under_way;
        if let Socket::Direct(socket) = &self.socket
            && nothing_waits
        {
            return Some((socket, frame));
        }
        state.push(frame);
        self.bound(state);
        if nothing_waits || state.closing.is_some() || state.broken {
            self.wake_worker();
        }
        None
    }

    /// Queues what the socket did not accept before everything else.
    fn sent(&self, state: &mut State, frame: Bytes, sent: io::Result<usize>) {
        match sent {
            Ok(written) if written == frame.len() => return,
            Ok(0) => state.broken = true,
            Ok(written) => {
                state.put_back(frame.slice(written..));
                state.head_begun = true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.put_back(frame),
            Err(_) => state.broken = true,
        }
        self.bound(state);
        self.wake_worker();
    }

    /// Prefetches what a send needs into the CPU caches.
    pub(crate) fn fetch(&self) {
        let descriptor = match &self.socket {
            Socket::Direct(socket) => Some(socket.as_fd()),
            Socket::Queued => None,
        };
        black_box((descriptor, self.state.is_poisoned()));
    }

    /// Queues a frame, or several consecutive frames, without writing. Returns whether the caller must [`WriteQueue::uncork`]
    /// the queue; if not, another caller will, or the connection's task writes it.
    #[must_use]
    pub fn cork(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        if state.closing.is_some() || state.broken {
            return false;
        }
        let nothing_waited = state.waiting.is_empty() && !state.under_way;
        let is_direct = matches!(self.socket, Socket::Direct(_));
        state.push(frame);
        if is_direct && state.waiting_bytes > self.max_bytes / 4 {
            // Enough for one write; and corked bytes must not count as bytes that the client has not read.
            self.write_out(&mut state);
        }
        self.bound(&mut state);
        if state.closing.is_some() || state.broken || (nothing_waited && !is_direct) {
            self.wake_worker();
        }
        nothing_waited && is_direct
    }

    /// Writes all queued frames.
    pub fn uncork(&self) {
        let mut state = self.state();
        if self.write_out(&mut state) != Flushed::All {
            self.wake_worker();
        }
    }

    /// Closes the connection if its queue exceeds its bound.
    fn bound(&self, state: &mut State) {
        // While a batch writes a frame, the queue cannot be flushed to learn how much the socket accepts.
        let max_bytes = if state.under_way { 2 * self.max_bytes } else { self.max_bytes };
        let is_over = |state: &State| state.waiting_bytes + state.taken_bytes > max_bytes + state.signal_bytes;
        let adds_too_much = !state.count();
        if (!adds_too_much && !is_over(state)) || state.closing.is_some() {
            return;
        }
        // Some of the bytes may only have been corked.
        self.write_out(state);
        // A single frame may exceed the bound: an imported message can be larger, and would otherwise make its room unreadable.
        let is_alone = state.waiting.len() <= 1 && state.taken_bytes == 0 && !state.under_way;
        // The user's other connections may have stalled. Those with long queues are closed first, not one that reads; but many
        // short queues together have a limit too.
        let holds_much = state.waiting_bytes + state.taken_bytes > self.max_bytes / 4;
        let of_user = adds_too_much && state.waits_for_too_much(if holds_much { 1 } else { 2 });
        if (is_over(state) && !is_alone) || of_user {
            metrics::counter!("chatsphere_slow_consumers_closed_total").increment(1);
            Self::begin_close(state, close::SLOW_CONSUMER, "too slow: connect again and join with since", None, false);
        }
    }

    /// Sends a close frame after the queued frames. For codes where waiting helps, a `closing` frame before it states how long.
    /// Only the first close has an effect.
    pub fn close(&self, code: u16, reason: &str) {
        self.end(code, reason, None);
    }

    /// Like [`WriteQueue::close`], with this delay for reconnecting.
    pub fn close_for(&self, code: u16, reason: &str, retry_after: Duration) {
        self.end(code, reason, Some(retry_after));
    }

    fn end(&self, code: u16, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state();
        Self::begin_close(&mut state, code, reason, retry_after, true);
        if matches!(self.socket, Socket::Direct(_)) {
            self.write_out(&mut state);
        }
        self.wake_worker();
        self.notify_progress();
    }

    /// Discards the queue without a close frame, as when the socket is gone.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.broken = true;
        state.waiting = VecDeque::new();
        state.waiting_bytes = 0;
        state.uncount();
        self.wake_worker();
        self.notify_progress();
    }

    /// The code of the pending close.
    pub fn closing(&self) -> Option<u16> {
        self.state().closing
    }

    /// Whether nothing more is sent: the connection is closing or broken.
    pub fn is_ended(&self) -> bool {
        let state = self.state();
        state.closing.is_some() || state.broken
    }

    /// Whether the socket broke or the queue was abandoned.
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// The number of queued bytes that the socket has accepted so far. It rises as long as the client reads.
    pub fn progress(&self) -> u64 {
        self.state().taken_by_socket
    }

    fn notify_progress(&self) {
        if let Some(progress) = self.progress.get() {
            progress.notify_waiters();
        }
    }

    /// Number of queued bytes.
    pub fn waiting_bytes(&self) -> usize {
        let state = self.state();
        state.waiting_bytes + state.taken_bytes
    }

    /// Whether a run of frames exceeds the bound. A single frame may.
    pub(crate) fn is_too_long(&self, run: &Bytes) -> bool {
        run.len() > self.max_bytes
    }

    /// Whether more than a quarter of the bound is queued.
    pub(crate) fn over_high_watermark(&self) -> bool {
        self.waiting_bytes() > self.max_bytes / 4
    }

    /// Waits until the connection's task must flush, take or end. For one task at a time.
    pub async fn work(&self) {
        poll_fn(|cx| {
            // Registered before the check, so that no wake-up is lost.
            self.worker.register(cx.waker());
            if self.has_work.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn wake_worker(&self) {
        self.has_work.store(true, Ordering::Release);
        self.worker.wake();
    }

    /// Waits until at most an eighth of the bound is queued, so that another page fits; or until the end.
    pub async fn has_room(&self) {
        loop {
            let progress = self.progress.get_or_init(Box::default).notified();
            tokio::pin!(progress);
            // Registered before the check, so that no notification is lost.
            progress.as_mut().enable();
            if self.has_room_now() {
                return;
            }
            progress.await;
        }
    }

    /// Whether [`WriteQueue::has_room`] returns at once. The kernel's buffer keeps the socket busy meanwhile.
    pub(crate) fn has_room_now(&self) -> bool {
        let state = self.state();
        state.closing.is_some() || state.broken || state.waiting_bytes + state.taken_bytes <= self.max_bytes / 8
    }

    /// Writes queued frames to a direct socket.
    pub fn flush(&self) -> Flushed {
        self.write_out(&mut self.state())
    }

    /// For [`Socket::Queued`]: returns the queued frames, to be written in this order and confirmed by
    /// [`WriteQueue::taken_written`].
    pub fn take(&self) -> Vec<Bytes> {
        let mut state = self.state();
        state.taken_bytes += state.waiting_bytes;
        state.waiting_bytes = 0;
        std::mem::take(&mut state.waiting).into()
    }

    /// Reports that this many of the taken bytes were written.
    pub fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        state.taken_by_socket += bytes as u64;
        state.count();
        self.notify_progress();
    }

    /// Reports that all taken bytes were written.
    pub fn taken_written(&self) -> Flushed {
        let mut state = self.state();
        state.taken_bytes = 0;
        state.count();
        self.notify_progress();
        match (state.broken || (state.closing.is_some() && state.waiting.is_empty()), state.waiting.is_empty()) {
            (true, _) => Flushed::End,
            (false, true) => Flushed::All,
            (false, false) => Flushed::Blocked,
        }
    }

    fn begin_close(state: &mut State, code: u16, reason: &str, retry_after: Option<Duration>, after_what_waits: bool) {
        if state.closing.is_some() || state.broken {
            return;
        }
        if !after_what_waits {
            // A partly written frame must be completed, or the client would misread the next one.
            state.waiting.truncate(usize::from(state.head_begun));
        }
        if let Some(wait) = retry_after.or_else(|| usual_wait(code)) {
            let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            state.waiting.extend(encode(&ServerFrame::Closing { code, retry_after_ms }));
        }
        state.waiting.push_back(websocket::close(code, reason));
        state.waiting_bytes = state.waiting.iter().map(Bytes::len).sum();
        state.closing = Some(code);
        state.count();
    }

    fn write_out(&self, state: &mut State) -> Flushed {
        let Socket::Direct(socket) = &self.socket else { return Flushed::Blocked };
        if state.under_way && !state.broken {
            // The batch that is writing continues with the queued frames in `finish`.
            return Flushed::All;
        }
        while !state.waiting.is_empty() && !state.broken {
            let written = {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut used = 0;
                for (slice, frame) in slices.iter_mut().zip(&state.waiting) {
                    *slice = IoSlice::new(frame);
                    used += 1;
                }
                if used == 1 { socket.try_write(&slices[0]) } else { socket.try_write_vectored(&slices[..used]) }
            };
            match written {
                Ok(0) => state.broken = true,
                Ok(written) => {
                    state.advance(written);
                    self.notify_progress();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.count();
                    return Flushed::Blocked;
                }
                Err(_) => state.broken = true,
            }
        }
        if state.broken {
            state.waiting = VecDeque::new();
            state.waiting_bytes = 0;
            state.uncount();
            return Flushed::End;
        }
        state.count();
        // An idle connection keeps no allocation.
        state.waiting = VecDeque::new();
        if state.closing.is_some() { Flushed::End } else { Flushed::All }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.uncount();
    }
}

/// The delay before reconnecting after a close, randomised up to twice the minimum to spread reconnects. `None` where waiting
/// does not help.
fn usual_wait(code: u16) -> Option<Duration> {
    let least = match code {
        close::GOING_AWAY | close::TRY_AGAIN_LATER => 1_000,
        close::SLOW_CONSUMER => 500,
        close::FLOOD => 5_000,
        _ => return None,
    };
    Some(Duration::from_millis(rand::rng().random_range(least..=2 * least)))
}

/// Writes without asking the runtime whether the socket is ready, which it nearly always is. If it would block, the
/// connection's task retries and registers with the runtime.
fn write_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // Rust programs ignore SIGPIPE.
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT)?)
}

impl State {
    /// Counts queued bytes for the user. Returns whether the user's total stays within its bound, as far as this queue adds to
    /// it.
    fn count(&mut self) -> bool {
        let waiting = self.waiting_bytes + self.taken_bytes;
        if waiting <= UNCOUNTED {
            self.uncount();
            return true;
        }
        let Some(owner) = &self.owner else { return true };
        let (account, counted) = self.counted.get_or_insert_with(|| (owner.account(), 0));
        let before = std::mem::replace(counted, waiting);
        if waiting <= before {
            account.unqueue(before - waiting);
            return true;
        }
        account.queue(waiting - before)
    }

    /// Whether this queue is counted and the user's connections together exceed `times` times their bound.
    fn waits_for_too_much(&self, times: usize) -> bool {
        self.counted.as_ref().is_some_and(|(account, _)| account.is_queue_over(times))
    }

    /// Whether the user's bound has room for signals, after which this queue holds `queued` bytes.
    fn has_room_for_signals(&self, queued: usize) -> bool {
        let is_within = |account: &Account, counted| account.is_queue_within(PARTS_FOR_SIGNALS, queued.saturating_sub(counted));
        match (&self.counted, &self.owner) {
            _ if queued <= UNCOUNTED => true,
            (Some((account, counted)), _) => is_within(account, *counted),
            (None, Some(owner)) => is_within(&owner.account(), 0),
            (None, None) => true,
        }
    }

    fn uncount(&mut self) {
        if let Some((account, counted)) = self.counted.take() {
            account.unqueue(counted);
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
    }

    /// Puts a frame before all queued ones.
    fn put_back(&mut self, frame: Bytes) {
        self.waiting_bytes += frame.len();
        self.waiting.push_front(frame);
    }

    fn advance(&mut self, mut written: usize) {
        self.waiting_bytes -= written;
        self.taken_by_socket += written as u64;
        while let Some(head) = self.waiting.front_mut() {
            if written < head.len() {
                self.head_begun = self.head_begun || written > 0;
                head.advance(written);
                return;
            }
            written -= head.len();
            self.waiting.pop_front();
            self.head_begun = false;
        }
    }
}

#[cfg(test)]
mod tests;
