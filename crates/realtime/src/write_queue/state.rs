//! The queued frames of one connection, and their share in the memory of its user.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use chatsphere_core::budget::{Account, Owner};
use chatsphere_net::websocket;
use chatsphere_protocol::close;
use chatsphere_protocol::frames::ServerFrame;
use rand::Rng;

use super::PARTS_FOR_SIGNALS;
use crate::frame::encode;

/// A queue of at most this many bytes is not counted for its user: most wait only for microseconds.
pub(super) const MAX_UNACCOUNTED: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queued: VecDeque<Bytes>,
    pub(super) queued_bytes: usize,
    /// Bytes returned by `WriteQueue::take` that the task has not written yet.
    pub(super) taken_bytes: usize,
    /// At most this many of these bytes are signals. They do not count against the bound.
    pub(super) signal_bytes: usize,
    /// Whether the first queued frame was written in part.
    pub(super) head_partly_written: bool,
    /// Queued bytes that the socket has accepted so far, over the life of the connection.
    pub(super) accepted_bytes: u64,
    /// A batch is writing a frame to this socket, between `WriteQueue::begin_send` and `WriteQueue::finish_send`.
    pub(super) batch_in_flight: bool,
    pub(super) closing: Option<u16>,
    pub(super) broken: bool,
    /// The user of the connection, once known.
    pub(super) owner: Option<Owner>,
    /// The account of the user and the bytes counted there; `None` for most connections at most times.
    accounted: Option<(Arc<Account>, usize)>,
}

impl State {
    /// Counts queued bytes for the user. Returns whether the user's total stays within its bound, as far as this queue adds to
    /// it.
    pub(super) fn update_account(&mut self) -> bool {
        let unwritten = self.unwritten_bytes();
        if unwritten <= MAX_UNACCOUNTED {
            self.release_account();
            return true;
        }
        let Some(owner) = &self.owner else { return true };
        let (account, accounted) = self.accounted.get_or_insert_with(|| (owner.account(), 0));
        let before = std::mem::replace(accounted, unwritten);
        if unwritten <= before {
            account.unqueue(before - unwritten);
            return true;
        }
        account.queue(unwritten - before)
    }

    /// Whether this queue is counted and the user's connections together exceed `times` times their bound.
    pub(super) fn exceeds_user_bound(&self, times: usize) -> bool {
        self.accounted.as_ref().is_some_and(|(account, _)| account.is_queue_over(times))
    }

    /// Whether the user's bound has room for signals, after which this queue holds `unwritten` bytes.
    pub(super) fn has_capacity_for_signals(&self, unwritten: usize) -> bool {
        let is_within =
            |account: &Account, accounted| account.is_queue_within(PARTS_FOR_SIGNALS, unwritten.saturating_sub(accounted));
        match (&self.accounted, &self.owner) {
            _ if unwritten <= MAX_UNACCOUNTED => true,
            (Some((account, accounted)), _) => is_within(account, *accounted),
            (None, Some(owner)) => is_within(&owner.account(), 0),
            (None, None) => true,
        }
    }

    pub(super) fn release_account(&mut self) {
        if let Some((account, accounted)) = self.accounted.take() {
            account.unqueue(accounted);
        }
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        self.queued_bytes += frame.len();
        self.queued.push_back(frame);
    }

    /// Puts a frame before all queued ones.
    pub(super) fn put_back(&mut self, frame: Bytes) {
        self.queued_bytes += frame.len();
        self.queued.push_front(frame);
    }

    pub(super) fn advance(&mut self, mut written: usize) {
        self.queued_bytes -= written;
        self.accepted_bytes += written as u64;
        while let Some(head) = self.queued.front_mut() {
            if written < head.len() {
                self.head_partly_written = self.head_partly_written || written > 0;
                head.advance(written);
                return;
            }
            written -= head.len();
            self.queued.pop_front();
            self.head_partly_written = false;
        }
    }

    /// Queues a close frame. Only the first close has an effect. Without `keeps_queued`, it replaces the queued frames.
    pub(super) fn begin_close(&mut self, code: u16, reason: &str, retry_after: Option<Duration>, keeps_queued: bool) {
        if self.is_ended() {
            return;
        }
        if !keeps_queued {
            // A partly written frame must be completed, or the client would misread the next one.
            self.queued.truncate(usize::from(self.head_partly_written));
        }
        if let Some(wait) = retry_after.or_else(|| default_retry_after(code)) {
            let retry_after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.queued.extend(encode(&ServerFrame::Closing { code, retry_after_ms }));
        }
        self.queued.push_back(websocket::close(code, reason));
        self.queued_bytes = self.queued.iter().map(Bytes::len).sum();
        self.closing = Some(code);
        self.update_account();
    }

    /// Whether nothing more is queued: the connection is closing or broken.
    pub(super) fn is_ended(&self) -> bool {
        self.closing.is_some() || self.broken
    }

    /// Bytes that were not written to the socket yet.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.queued_bytes + self.taken_bytes
    }

    /// Discards the queue of a broken connection.
    pub(super) fn clear(&mut self) {
        self.queued = VecDeque::new();
        self.queued_bytes = 0;
        self.release_account();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.release_account();
    }
}

/// The delay before reconnecting after a close, randomised up to twice the minimum to spread reconnects. `None` where waiting
/// does not help.
fn default_retry_after(code: u16) -> Option<Duration> {
    let least = match code {
        close::GOING_AWAY | close::TRY_AGAIN_LATER => 1_000,
        close::SLOW_CONSUMER => 500,
        close::FLOOD => 5_000,
        _ => return None,
    };
    Some(Duration::from_millis(rand::rng().random_range(least..=2 * least)))
}
