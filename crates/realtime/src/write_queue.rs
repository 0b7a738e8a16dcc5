//! The write side of one socket: what waits for it, bounded in bytes.
//!
//! Whoever has a frame for a connection calls [`WriteQueue::send`]. When nothing waits, the frame is written to the socket at
//! once, on the sender's own thread; only a socket that would block, or that somebody else is writing to, makes a queue and
//! wakes the connection's task. Whoever will have several frames for many connections calls [`WriteQueue::hold`] for each, and
//! [`WriteQueue::release`] in the end. What waits goes out in vectored writes. A queue over its bound, or one that adds to more
//! than may wait for its user's connections together, closes the connection with 4008: frames are never skipped.

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
use chatsphere_net::websocket::{self, CloseCode};
use chatsphere_protocol::frames::ServerFrame;
use futures_util::task::AtomicWaker;
use rand::Rng;
use rustix::net::SendFlags;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::frame::encode;

/// Frames handed to the kernel in one call, at most.
const MAX_SLICES: usize = 64;
/// So few bytes that wait for a connection are not counted for its user: most wait for some microseconds only.
const UNCOUNTED: usize = 8 * 1024;

/// Where the bytes go.
#[derive(Debug)]
pub enum Socket {
    /// A plain TCP socket, which senders write to themselves.
    Direct(Arc<TcpStream>),
    /// Anything else, such as TLS: the connection's task takes what waits with [`WriteQueue::take`].
    Queued,
}

/// The write side of one connection.
#[derive(Debug)]
pub struct WriteQueue {
    socket: Socket,
    most_bytes: usize,
    state: Mutex<State>,
    /// Something waits, or the end was reached: the connection's task must act.
    has_work: AtomicBool,
    /// That task, once it waits. Smaller than a `Notify` and what waits for one.
    worker: AtomicWaker,
    /// Something that waited went out. Made when somebody first waits for it, which most connections never do.
    progress: OnceLock<Box<Notify>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Bytes handed to the task by `take` that it has not yet written.
    taken_bytes: usize,
    /// Whether the first waiting frame was written in part.
    head_begun: bool,
    /// Bytes that the socket has taken so far, other than those that never waited.
    taken_by_socket: u64,
    /// Somebody else has a frame for this socket under way, from [`WriteQueue::begin`] to [`WriteQueue::finish`].
    under_way: bool,
    closing: Option<CloseCode>,
    broken: bool,
    /// Whose connection it is, once that is known.
    owner: Option<Owner>,
    /// How many bytes are counted for the owner, and where; nothing for most connections at most times.
    counted: Option<(Arc<Account>, usize)>,
}

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing waits, or somebody else is writing and goes on with it.
    All,
    /// The socket would block.
    Blocked,
    /// The connection is at its end: a close frame went out, or the socket broke.
    End,
}

impl WriteQueue {
    /// Nothing waits yet; `most_bytes` may.
    pub fn new(socket: Socket, most_bytes: usize) -> Self {
        Self {
            socket,
            most_bytes,
            state: Mutex::default(),
            has_work: AtomicBool::new(false),
            worker: AtomicWaker::new(),
            progress: OnceLock::new(),
        }
    }

    /// From now on what waits counts for this user too, over all connections.
    pub fn count_for(&self, owner: Owner) {
        let mut state = self.state();
        state.uncount();
        state.owner = Some(owner);
        state.count();
    }

    /// For whom what waits counts.
    pub fn account(&self) -> Option<Arc<Account>> {
        let owner = self.state().owner.clone();
        owner.map(|owner| owner.account())
    }

    /// Sends a frame, or several that follow one another, or queues them. After [`WriteQueue::close`] it goes nowhere.
    pub fn send(&self, frame: Bytes) {
        let mut state = self.state();
        if let Some((socket, frame)) = self.place(&mut state, frame) {
            let sent = write_now(socket, &frame);
            self.sent(&mut state, frame, sent);
        }
    }

    /// Sends a frame that may be lost: where the client, or its user, is behind with reading, it is dropped. Answers whether it
    /// was not.
    pub fn send_if_current(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        let waiting = state.waiting_bytes + state.taken_bytes;
        let ended = state.closing.is_some() || state.broken;
        if ended || waiting > self.most_bytes / 4 || state.waits_for_too_much(1) {
            return false;
        }
        if let Some((socket, frame)) = self.place(&mut state, frame) {
            let sent = write_now(socket, &frame);
            self.sent(&mut state, frame, sent);
        }
        true
    }

    /// Begins what [`WriteQueue::send`] does, for somebody who hands many frames to the kernel in one call: what is returned is
    /// to be written to that socket, and what became of it to be told to [`WriteQueue::finish`]. Until then all that comes
    /// waits. `None` if there is nothing left to do.
    pub(crate) fn begin(&self, frame: Bytes) -> Option<(Arc<TcpStream>, Bytes)> {
        let mut state = self.state();
        let (socket, frame) = self.place(&mut state, frame)?;
        state.under_way = true;
        Some((socket.clone(), frame))
    }

    /// Ends what [`WriteQueue::begin`] began: how much of the frame the socket took.
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
                self.call();
            }
        }
    }

    /// The socket that a frame can go to at once. Otherwise the frame joins the queue, if there is to be one.
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
            self.call();
        }
        None
    }

    /// What a socket did not take is the first to wait.
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
        self.call();
    }

    /// Brings what a send needs into the processor's caches.
    pub(crate) fn fetch(&self) {
        let descriptor = match &self.socket {
            Socket::Direct(socket) => Some(socket.as_fd()),
            Socket::Queued => None,
        };
        black_box((descriptor, self.state.is_poisoned()));
    }

    /// Queues a frame, or several that follow one another. Answers whether the caller has to [`WriteQueue::release`] it; if
    /// not, somebody else is about to.
    #[must_use]
    pub fn cork(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        if state.closing.is_some() || state.broken {
            return false;
        }
        let nothing_waited = state.waiting.is_empty() && !state.under_way;
        let is_direct = matches!(self.socket, Socket::Direct(_));
        state.push(frame);
        if is_direct && state.waiting_bytes > self.most_bytes / 4 {
            // Enough for a write, and what is held must not look like what the client does not take.
            self.write_out(&mut state);
        }
        self.bound(&mut state);
        if state.closing.is_some() || state.broken || (nothing_waited && !is_direct) {
            self.call();
        }
        nothing_waited && is_direct
    }

    /// Writes what was held, and what came behind it.
    pub fn uncork(&self) {
        let mut state = self.state();
        if self.write_out(&mut state) != Flushed::All {
            self.call();
        }
    }

    /// Ends a connection for which too much waits.
    fn bound(&self, state: &mut State) {
        // While a frame is under way nobody can look how much the socket would take.
        let most_bytes = if state.under_way { 2 * self.most_bytes } else { self.most_bytes };
        let is_over = |state: &State| state.waiting_bytes + state.taken_bytes > most_bytes;
        let adds_too_much = !state.count();
        if (!adds_too_much && !is_over(state)) || state.closing.is_some() {
            return;
        }
        // Some of it may only have been held.
        self.write_out(state);
        // A message that was taken over from elsewhere may be larger than the bound: alone it passes, or nobody could ever read
        // on.
        let is_alone = state.waiting.len() <= 1 && state.taken_bytes == 0 && !state.under_way;
        // Others of the user's connections may have stalled: those that hold much end first, not one that is read. But there is
        // an end to how much many that hold little may hold.
        let holds_much = state.waiting_bytes + state.taken_bytes > self.most_bytes / 4;
        let of_user = adds_too_much && state.waits_for_too_much(if holds_much { 1 } else { 2 });
        if (is_over(state) && !is_alone) || of_user {
            metrics::counter!("chatsphere_slow_consumers_closed_total").increment(1);
            Self::begin_close(state, CloseCode::SLOW_CONSUMER, "too slow: connect again and join with since", None, false);
        }
    }

    /// Sends a close frame after what waits, and nothing after it. Where waiting helps, a `closing` frame before it says for
    /// how long. The first close counts.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.end(code, reason, None);
    }

    /// The same, for as long as told.
    pub fn close_for(&self, code: CloseCode, reason: &str, retry_after: Duration) {
        self.end(code, reason, Some(retry_after));
    }

    fn end(&self, code: CloseCode, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state();
        Self::begin_close(&mut state, code, reason, retry_after, true);
        if matches!(self.socket, Socket::Direct(_)) {
            self.write_out(&mut state);
        }
        self.call();
        self.notify_progress();
    }

    /// Gives the connection up without a word, as when the socket is gone.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.broken = true;
        state.waiting = VecDeque::new();
        state.waiting_bytes = 0;
        state.uncount();
        self.call();
        self.notify_progress();
    }

    /// The code of the close that was begun.
    pub fn closing(&self) -> Option<CloseCode> {
        self.state().closing
    }

    /// Whether nothing more will be sent.
    pub fn is_ended(&self) -> bool {
        let state = self.state();
        state.closing.is_some() || state.broken
    }

    /// Whether the socket is gone, or was given up.
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// How many of the bytes that had to wait the socket has taken so far. It rises as long as the client reads.
    pub fn progress(&self) -> u64 {
        self.state().taken_by_socket
    }

    fn notify_progress(&self) {
        if let Some(progress) = self.progress.get() {
            progress.notify_waiters();
        }
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        let state = self.state();
        state.waiting_bytes + state.taken_bytes
    }

    /// Whether a run of frames is more than may wait. One frame alone may be.
    pub(crate) fn is_too_long(&self, run: &Bytes) -> bool {
        run.len() > self.most_bytes
    }

    /// Whether more than a quarter of the bound waits.
    pub(crate) fn over_high_watermark(&self) -> bool {
        self.waiting_bytes() > self.most_bytes / 4
    }

    /// Waits until there is something for the connection's task to do: flush, take, or end. For one task at a time.
    pub async fn work(&self) {
        poll_fn(|cx| {
            // Registered before the look, so that what happens in between is not missed.
            self.worker.register(cx.waker());
            if self.has_work.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn call(&self) {
        self.has_work.store(true, Ordering::Release);
        self.worker.wake();
    }

    /// Waits until so little of the bound waits that a page more cannot overflow it; or until the end.
    pub async fn has_room(&self) {
        loop {
            let progress = self.progress.get_or_init(Box::default).notified();
            tokio::pin!(progress);
            // Registered before the look, so that what happens in between is not missed.
            progress.as_mut().enable();
            if self.has_room_now() {
                return;
            }
            progress.await;
        }
    }

    /// Whether [`WriteQueue::has_room`] need not wait. The kernel holds enough for the socket not to run dry meanwhile.
    pub(crate) fn has_room_now(&self) -> bool {
        let state = self.state();
        state.closing.is_some() || state.broken || state.waiting_bytes + state.taken_bytes <= self.most_bytes / 8
    }

    /// Writes what waits to a direct socket.
    pub fn flush(&self) -> Flushed {
        self.write_out(&mut self.state())
    }

    /// For a queued socket: takes what waits, to be written in this order. [`WriteQueue::taken_written`] tells when it was.
    pub fn take(&self) -> Vec<Bytes> {
        let mut state = self.state();
        state.taken_bytes += state.waiting_bytes;
        state.waiting_bytes = 0;
        std::mem::take(&mut state.waiting).into()
    }

    /// So many of the bytes that were taken have been written.
    pub fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        state.taken_by_socket += bytes as u64;
        state.count();
        self.notify_progress();
    }

    /// What was taken has been written.
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

    fn begin_close(state: &mut State, code: CloseCode, reason: &str, retry_after: Option<Duration>, after_what_waits: bool) {
        if state.closing.is_some() || state.broken {
            return;
        }
        if !after_what_waits {
            // A frame that was begun must be finished, or its rest would be read as another frame.
            state.waiting.truncate(usize::from(state.head_begun));
        }
        if let Some(wait) = retry_after.or_else(|| usual_wait(code)) {
            let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            state.waiting.extend(encode(&ServerFrame::Closing { code: code.get(), retry_after_ms }));
        }
        state.waiting.push_back(websocket::close(code, reason));
        state.waiting_bytes = state.waiting.iter().map(Bytes::len).sum();
        state.closing = Some(code);
        state.count();
    }

    fn write_out(&self, state: &mut State) -> Flushed {
        let Socket::Direct(socket) = &self.socket else { return Flushed::Blocked };
        if state.under_way && !state.broken {
            // Whoever ends that goes on with what waits.
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
        // An idle connection keeps no queue.
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

/// How long to wait after a close, from so many milliseconds to twice as many, so that not all come back at once. `None` where
/// waiting changes nothing.
fn usual_wait(code: CloseCode) -> Option<Duration> {
    let least = match code {
        CloseCode::GOING_AWAY | CloseCode::TRY_AGAIN_LATER => 1_000,
        CloseCode::SLOW_CONSUMER => 500,
        CloseCode::FLOOD => 5_000,
        _ => return None,
    };
    Some(Duration::from_millis(rand::rng().random_range(least..=2 * least)))
}

/// Writes without asking the runtime first whether the socket is ready, which it nearly always is. If it would block, the
/// runtime learns that from the connection's task, which then tries again.
fn write_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // Rust programs ignore SIGPIPE.
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT)?)
}

impl State {
    /// Counts what waits for its user. Whether all that waits for that user is within its bound, as far as this adds to it.
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

    /// Whether something waits here, and for all connections of the user together more than so many times their bound.
    fn waits_for_too_much(&self, times: usize) -> bool {
        self.counted.as_ref().is_some_and(|(account, _)| account.is_queue_over(times))
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

    /// What was to go out before all that waits.
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
