//! The write side of one connection: a queue of frames, bounded in bytes.
//!
//! [`WriteQueue::send`] writes a frame to the socket at once, on the caller's thread, if the queue is empty. If the socket
//! would block, or another thread is writing to it, the frame is queued and the connection's task is woken. A caller with
//! several frames for many connections uses [`WriteQueue::cork`] for each frame and [`WriteQueue::uncork`] at the end. Queued
//! frames are written with vectored writes.
//!
//! Frames are never skipped: a queue over its bound, or one that exceeds the budget of its user's connections together, closes
//! the connection with 4008. Only signals are dropped, long before that: [`WriteQueue::send_if_current`].

mod state;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::hint::black_box;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::budget::{Account, Owner};
use chatsphere_protocol::close;
use futures_util::task::AtomicWaker;
use rustix::net::SendFlags;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use self::state::State;

/// Maximum number of frames in one vectored write.
const MAX_SLICES: usize = 64;
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
    task: AtomicWaker,
    /// Notified when queued bytes were written. Created on first use, because most connections never need it.
    written: OnceLock<Box<Notify>>,
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
            task: AtomicWaker::new(),
            written: OnceLock::new(),
        }
    }

    /// Counts queued bytes against this user, over all of the user's connections.
    pub fn count_for(&self, owner: Owner) {
        let mut state = self.state();
        state.release_account();
        state.owner = Some(owner);
        state.update_account();
    }

    /// The account of the user for whom queued bytes count.
    pub fn account(&self) -> Option<Arc<Account>> {
        let owner = self.state().owner.clone();
        owner.map(|owner| owner.account())
    }

    /// Sends or queues a frame, or several consecutive frames. After [`WriteQueue::close`] it is discarded.
    pub fn send(&self, frame: Bytes) {
        self.send_locked(&mut self.state(), frame);
    }

    /// Sends a droppable frame: if the client or its user is behind with reading, the frame is dropped. So it never closes the
    /// connection. Returns whether it was sent or queued.
    pub fn send_if_current(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        let unwritten = state.unwritten_bytes();
        let with_frame = unwritten + frame.len();
        if state.is_ended() || with_frame > self.max_bytes / PARTS_FOR_SIGNALS || !state.has_capacity_for_signals(with_frame) {
            return false;
        }
        state.signal_bytes = state.signal_bytes.min(unwritten) + frame.len();
        self.send_locked(&mut state, frame);
        true
    }

    /// Queues a frame, or several consecutive frames, without writing. Returns whether the caller must [`WriteQueue::uncork`]
    /// the queue; if not, another caller will, or the connection's task writes it.
    #[must_use]
    pub fn cork(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        if state.is_ended() {
            return false;
        }
        let was_idle = state.queued.is_empty() && !state.batch_in_flight;
        let is_direct = matches!(self.socket, Socket::Direct(_));
        state.push(frame);
        if is_direct && state.queued_bytes > self.max_bytes / 4 {
            // Enough for one write; and corked bytes must not count as bytes that the client has not read.
            self.write_queued(&mut state);
        }
        self.enforce_bound(&mut state);
        if state.is_ended() || (was_idle && !is_direct) {
            self.wake_task();
        }
        was_idle && is_direct
    }

    /// Writes all queued frames.
    pub fn uncork(&self) {
        let mut state = self.state();
        if self.write_queued(&mut state) != Flushed::All {
            self.wake_task();
        }
    }

    /// Begins a [`WriteQueue::send`] for a batch that writes many frames in one system call. The caller writes the returned
    /// frame to the returned socket and passes the result to [`WriteQueue::finish_send`]; until then other frames are queued.
    /// `None` if the frame was queued or discarded.
    pub(crate) fn begin_send(&self, frame: Bytes) -> Option<(Arc<TcpStream>, Bytes)> {
        let mut state = self.state();
        let (socket, frame) = self.socket_or_queue(&mut state, frame)?;
        state.batch_in_flight = true;
        Some((socket.clone(), frame))
    }

    /// Completes [`WriteQueue::begin_send`] with the number of bytes that the socket accepted.
    pub(crate) fn finish_send(&self, frame: Bytes, written: io::Result<usize>) {
        let mut state = self.state();
        state.batch_in_flight = false;
        if state.broken {
            return;
        }
        let has_later_frames = !state.queued.is_empty();
        self.queue_unwritten(&mut state, frame, written);
        if has_later_frames && !state.broken {
            self.enforce_bound(&mut state);
            if self.write_queued(&mut state) != Flushed::All {
                self.wake_task();
            }
        }
    }

    /// Prefetches what a send needs into the CPU caches.
    pub(crate) fn prefetch(&self) {
        let descriptor = match &self.socket {
            Socket::Direct(socket) => Some(socket.as_fd()),
            Socket::Queued => None,
        };
        black_box((descriptor, self.state.is_poisoned()));
    }

    fn send_locked(&self, state: &mut State, frame: Bytes) {
        if let Some((socket, frame)) = self.socket_or_queue(state, frame) {
            let written = write_now(socket, &frame);
            self.queue_unwritten(state, frame, written);
        }
    }

    /// Returns the socket if the frame can be written at once; otherwise queues the frame, or discards it after the end.
    fn socket_or_queue(&self, state: &mut State, frame: Bytes) -> Option<(&Arc<TcpStream>, Bytes)> {
        if state.is_ended() {
            return None;
        }
        let is_idle = state.queued.is_empty() && !state.batch_in_flight;
        if let Socket::Direct(socket) = &self.socket
            && is_idle
        {
            return Some((socket, frame));
        }
        state.push(frame);
        self.enforce_bound(state);
        if is_idle || state.is_ended() {
            self.wake_task();
        }
        None
    }

    /// Queues what the socket did not accept before everything else.
    fn queue_unwritten(&self, state: &mut State, frame: Bytes, written: io::Result<usize>) {
        match written {
            Ok(written) if written == frame.len() => return,
            Ok(0) => state.broken = true,
            Ok(written) => {
                state.put_back(frame.slice(written..));
                state.head_partly_written = true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => state.put_back(frame),
            Err(_) => state.broken = true,
        }
        self.enforce_bound(state);
        self.wake_task();
    }

    /// Closes the connection if its queue exceeds its bound.
    fn enforce_bound(&self, state: &mut State) {
        // While a batch writes a frame, the queue cannot be flushed to learn how much the socket accepts.
        let max_bytes = if state.batch_in_flight { 2 * self.max_bytes } else { self.max_bytes };
        let is_over = |state: &State| state.unwritten_bytes() > max_bytes + state.signal_bytes;
        let adds_too_much = !state.update_account();
        if (!adds_too_much && !is_over(state)) || state.closing.is_some() {
            return;
        }
        // Some of the bytes may only have been corked.
        self.write_queued(state);
        // A single frame may exceed the bound: an imported message can be larger, and would otherwise make its room unreadable.
        let is_alone = state.queued.len() <= 1 && state.taken_bytes == 0 && !state.batch_in_flight;
        // The user's other connections may have stalled. Those with long queues are closed first, not one that reads; but many
        // short queues together have a limit too.
        let holds_much = state.unwritten_bytes() > self.max_bytes / 4;
        let of_user = adds_too_much && state.exceeds_user_bound(if holds_much { 1 } else { 2 });
        if (is_over(state) && !is_alone) || of_user {
            metrics::counter!("chatsphere_slow_consumers_closed_total").increment(1);
            state.begin_close(close::SLOW_CONSUMER, "too slow: connect again and join with since", None, false);
        }
    }

    /// Writes queued frames to a direct socket, until it would block.
    fn write_queued(&self, state: &mut State) -> Flushed {
        let Socket::Direct(socket) = &self.socket else { return Flushed::Blocked };
        if state.batch_in_flight && !state.broken {
            // The batch that is writing continues with the queued frames in `finish_send`.
            return Flushed::All;
        }
        while !state.queued.is_empty() && !state.broken {
            let written = {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut used = 0;
                for (slice, frame) in slices.iter_mut().zip(&state.queued) {
                    *slice = IoSlice::new(frame);
                    used += 1;
                }
                if used == 1 { socket.try_write(&slices[0]) } else { socket.try_write_vectored(&slices[..used]) }
            };
            match written {
                Ok(0) => state.broken = true,
                Ok(written) => {
                    state.advance(written);
                    self.notify_written();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    state.update_account();
                    return Flushed::Blocked;
                }
                Err(_) => state.broken = true,
            }
        }
        if state.broken {
            state.clear();
            return Flushed::End;
        }
        state.update_account();
        // An idle connection keeps no allocation.
        state.queued = VecDeque::new();
        if state.closing.is_some() { Flushed::End } else { Flushed::All }
    }

    /// Sends a close frame after the queued frames. For codes where waiting helps, a `closing` frame before it states how long.
    /// Only the first close has an effect.
    pub fn close(&self, code: u16, reason: &str) {
        self.close_and_write(code, reason, None);
    }

    /// Like [`WriteQueue::close`], with this delay for reconnecting.
    pub fn close_with_retry_after(&self, code: u16, reason: &str, retry_after: Duration) {
        self.close_and_write(code, reason, Some(retry_after));
    }

    fn close_and_write(&self, code: u16, reason: &str, retry_after: Option<Duration>) {
        let mut state = self.state();
        state.begin_close(code, reason, retry_after, true);
        if matches!(self.socket, Socket::Direct(_)) {
            self.write_queued(&mut state);
        }
        self.wake_task();
        self.notify_written();
    }

    /// Discards the queue without a close frame, as when the socket is gone.
    pub fn abandon(&self) {
        let mut state = self.state();
        state.broken = true;
        state.clear();
        self.wake_task();
        self.notify_written();
    }

    /// The code of the pending close.
    pub fn closing(&self) -> Option<u16> {
        self.state().closing
    }

    /// Whether nothing more is sent: the connection is closing or broken.
    pub fn is_ended(&self) -> bool {
        self.state().is_ended()
    }

    /// Whether the socket broke or the queue was abandoned.
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// Number of bytes that were not written to the socket yet.
    pub fn waiting_bytes(&self) -> usize {
        self.state().unwritten_bytes()
    }

    /// Whether several frames together exceed the bound. A single frame may.
    pub(crate) fn exceeds_bound(&self, frames: &Bytes) -> bool {
        frames.len() > self.max_bytes
    }

    /// Whether more than a quarter of the bound is queued.
    pub(crate) fn over_high_watermark(&self) -> bool {
        self.waiting_bytes() > self.max_bytes / 4
    }

    /// The number of queued bytes that the socket has accepted so far. It rises as long as the client reads.
    pub fn progress(&self) -> u64 {
        self.state().accepted_bytes
    }

    /// Waits until at most an eighth of the bound is queued, so that another page fits; or until the end.
    pub async fn wait_for_capacity(&self) {
        loop {
            let written = self.written.get_or_init(Box::default).notified();
            tokio::pin!(written);
            // Registered before the check, so that no notification is lost.
            written.as_mut().enable();
            if self.has_capacity() {
                return;
            }
            written.await;
        }
    }

    /// Whether [`WriteQueue::wait_for_capacity`] returns at once. The kernel's buffer keeps the socket busy meanwhile.
    pub(crate) fn has_capacity(&self) -> bool {
        let state = self.state();
        state.is_ended() || state.unwritten_bytes() <= self.max_bytes / 8
    }

    fn notify_written(&self) {
        if let Some(written) = self.written.get() {
            written.notify_waiters();
        }
    }

    /// Waits until the connection's task must flush, take or end. For one task at a time.
    pub async fn work(&self) {
        poll_fn(|cx| {
            // Registered before the check, so that no wake-up is lost.
            self.task.register(cx.waker());
            if self.has_work.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn wake_task(&self) {
        self.has_work.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Writes queued frames to a direct socket.
    pub fn flush(&self) -> Flushed {
        self.write_queued(&mut self.state())
    }

    /// For [`Socket::Queued`]: returns the queued frames, to be written in this order and confirmed by
    /// [`WriteQueue::taken_written`].
    pub fn take(&self) -> Vec<Bytes> {
        let mut state = self.state();
        state.taken_bytes += state.queued_bytes;
        state.queued_bytes = 0;
        std::mem::take(&mut state.queued).into()
    }

    /// Reports that this many of the taken bytes were written.
    pub fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        state.accepted_bytes += bytes as u64;
        state.update_account();
        self.notify_written();
    }

    /// Reports that all taken bytes were written.
    pub fn taken_written(&self) -> Flushed {
        let mut state = self.state();
        state.taken_bytes = 0;
        state.update_account();
        self.notify_written();
        match (state.broken || (state.closing.is_some() && state.queued.is_empty()), state.queued.is_empty()) {
            (true, _) => Flushed::End,
            (false, true) => Flushed::All,
            (false, false) => Flushed::Blocked,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes without asking the runtime whether the socket is ready, which it nearly always is. If it would block, the
/// connection's task retries and registers with the runtime.
fn write_now(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    // Rust programs ignore SIGPIPE.
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT)?)
}

#[cfg(test)]
mod tests;
