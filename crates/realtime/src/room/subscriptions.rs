//! The subscriptions of a room, and the position of each in the order of events.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, RoomId, Seq};

use super::RoomSignal;
use super::delivery::Delivery;
use crate::subscriber::Subscriber;
use crate::write_queue::WriteQueue;

/// Maximum number of subscriptions served under one hold of the room's lock, so that a large room delays neither joins nor its
/// shard for long.
#[cfg(not(test))]
const MAX_PER_LOCK: usize = 128;
#[cfg(test)]
const MAX_PER_LOCK: usize = 2;
/// Maximum bytes written under one hold, a few tenths of a millisecond of kernel time; at least `MIN_PER_LOCK` subscriptions
/// are served.
const BYTES_PER_LOCK: usize = 128 * 1024;
const MIN_PER_LOCK: usize = 16;
/// Up to this many subscriptions, frames are corked until the end of the shard's iteration. In larger rooms that rarely
/// combines frames, and each is written at once.
const MAX_CORKED: usize = 64;
/// Number of subscriptions prefetched into the CPU caches together.
const PREFETCHED: usize = 8;

/// How many subscriptions are served under one hold of the lock, for this many undelivered bytes each.
pub(super) fn max_per_lock(undelivered_bytes: usize) -> usize {
    (BYTES_PER_LOCK / undelivered_bytes.max(1)).clamp(MIN_PER_LOCK.min(MAX_PER_LOCK), MAX_PER_LOCK)
}

/// A subscriber's subscription to a room.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The subscriber's id, copied here so that a search reads only this list.
    id: ConnectionId,
    pub(super) subscriber: Arc<Subscriber>,
    /// The access of the subscriber. A member's subscription ends with the membership.
    pub(super) access: Access,
    /// It has every event up to here.
    pub(super) delivered_up_to: Seq,
}

/// The subscriptions of a room, and the position of the current pass.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// A subscription removed during a pass leaves an empty slot, so that the pass skips nobody.
    slots: Vec<Option<Subscription>>,
    empty: usize,
    /// The slot at which the pass continues.
    next: usize,
    /// A write queue was over its high watermark during a pass.
    pub(super) over_watermark: bool,
}

/// Connections with corked frames; the shard uncorks them.
pub(crate) type Corked = Vec<Arc<WriteQueue>>;

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.empty
    }

    /// Adds a subscription that has every event up to `delivered_up_to`, and removes an earlier one of the same connection.
    pub(super) fn subscribe(&mut self, room: RoomId, subscriber: &Arc<Subscriber>, access: Access, delivered_up_to: Seq) {
        if !subscriber.room_set().insert(room) {
            self.remove(subscriber.id);
        }
        self.slots.push(Some(Subscription { id: subscriber.id, subscriber: subscriber.clone(), access, delivered_up_to }));
    }

    /// Sends a frame to a subscriber. Returns whether it is subscribed.
    pub(super) fn send(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        let subscription = self.slots.iter().flatten().find(|subscription| subscription.id == connection);
        subscription.map(|subscription| subscription.subscriber.write_queue.send(frame.clone())).is_some()
    }

    /// Sends a signal to the next subscriptions before `slot`, while `may_send` returns true. Returns how many got it, and how
    /// many dropped it as too slow.
    ///
    /// From the end to the beginning, because removals move subscriptions towards the beginning: between two parts none of them
    /// gets past `slot`.
    pub(super) fn signal(&self, signal: &RoomSignal<'_>, slot: &mut usize, may_send: impl Fn() -> bool) -> (u64, u64) {
        let end = (*slot).min(self.slots.len());
        *slot = end.saturating_sub(MAX_PER_LOCK);
        let (mut sent, mut dropped) = (0, 0);
        for subscription in self.slots.get(*slot..end).unwrap_or_default().iter().rev().flatten() {
            if !may_send() {
                break;
            }
            if !signal.is_for(&subscription.subscriber) {
                continue;
            }
            if subscription.subscriber.write_queue.send_if_current(signal.frame.clone()) {
                sent += 1;
            } else {
                dropped += 1;
            }
        }
        (sent, dropped)
    }

    /// Removes the subscription of a connection.
    pub(super) fn unsubscribe(&mut self, room: RoomId, connection: ConnectionId) -> bool {
        let subscription = self.remove(connection);
        subscription.is_some_and(|subscription| subscription.subscriber.room_set().remove(room))
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Subscription> {
        let is_it = |subscription: &Option<Subscription>| {
            subscription.as_ref().is_some_and(|subscription| subscription.id == connection)
        };
        let slot = self.slots.iter().position(is_it)?;
        let subscription = if self.next == 0 {
            self.slots.swap_remove(slot)
        } else {
            self.empty += 1;
            self.slots.get_mut(slot)?.take()
        };
        if self.slots.is_empty() {
            self.slots = Vec::new();
        }
        subscription
    }

    /// Whether a write queue is still over its high watermark.
    pub(super) fn any_over_watermark(&self) -> bool {
        self.slots.iter().flatten().any(|subscription| subscription.subscriber.write_queue.over_high_watermark())
    }

    /// Changes the access of a subscription.
    pub(super) fn set_access(&mut self, connection: ConnectionId, access: Access) {
        if let Some(subscription) = self.slots.iter_mut().flatten().find(|subscription| subscription.id == connection) {
            subscription.access = access;
        }
    }

    /// Whether frames for these subscriptions are corked until the end of the shard's iteration.
    pub(super) fn uses_cork(&self) -> bool {
        self.len() <= MAX_CORKED
    }

    /// Continues the pass with the next `count` subscriptions. Returns whether the pass ended.
    pub(super) fn advance_pass(&mut self, delivery: &mut Delivery<'_>, count: usize) -> bool {
        let end = (self.next + count).min(self.slots.len());
        for group in self.slots.get_mut(self.next..end).unwrap_or_default().chunks_mut(PREFETCHED) {
            // Writes evict these lines from the CPU caches. Prefetching them together overlaps the cache misses.
            group.iter().flatten().for_each(|subscription| subscription.subscriber.write_queue.prefetch());
            for slot in group {
                if slot.as_mut().is_some_and(|subscription| !delivery.deliver(subscription)) {
                    *slot = None;
                    self.empty += 1;
                }
            }
        }
        delivery.batch.submit();
        self.over_watermark = self.over_watermark || delivery.over_watermark;
        self.next = end;
        let ended = end == self.slots.len();
        if ended {
            self.next = 0;
            if self.empty > 0 {
                self.slots.retain(Option::is_some);
                self.empty = 0;
            }
        }
        ended
    }

    /// Sends a frame to all subscriptions in the order of arrival (the fault `TrustTheBus`).
    #[cfg(test)]
    pub(super) fn send_unordered(&mut self, seq: Seq, frame: &Bytes) {
        for subscription in self.slots.iter_mut().flatten() {
            subscription.subscriber.write_queue.send(frame.clone());
            subscription.delivered_up_to = subscription.delivered_up_to.max(seq);
        }
    }
}
