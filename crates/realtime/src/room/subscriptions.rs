//! The subscriptions of a room, and the position of each in the order of events.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, RoomId, Seq};

use super::RoomSignal;
use super::service::Service;
use crate::subscriber::Subscriber;
use crate::write_queue::WriteQueue;

/// Maximum number of subscriptions served under one hold of the room's lock, so that a large room delays neither joins nor its
/// shard for long.
#[cfg(not(test))]
const AT_ONCE: usize = 128;
#[cfg(test)]
const AT_ONCE: usize = 2;
/// Maximum bytes written under one hold, a few tenths of a millisecond of kernel time; at least `FEW` subscriptions are served.
const BYTES_AT_ONCE: usize = 128 * 1024;
const FEW: usize = 16;
/// Up to this many subscriptions, frames are corked until the end of the shard's turn. In larger rooms that rarely combines
/// frames, and each is written at once.
const MAX_CORKED: usize = 64;
/// Number of subscriptions prefetched into the CPU caches together.
const FETCHED: usize = 8;

/// How many subscriptions are served under one hold of the lock, for `due` undelivered bytes each.
pub(super) fn at_once(due: usize) -> usize {
    (BYTES_AT_ONCE / due.max(1)).clamp(FEW.min(AT_ONCE), AT_ONCE)
}

/// A subscriber's subscription to a room.
#[derive(Debug)]
pub(super) struct Subscription {
    id: ConnectionId,
    pub(super) subscriber: Arc<Subscriber>,
    /// The access of the subscriber. A member's subscription ends with the membership.
    pub(super) access: Access,
    /// It has every event up to here.
    pub(super) after: Seq,
}

/// The subscriptions of a room, and the position of the current pass.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// A subscription removed during a pass leaves an empty place, so that the pass skips nobody.
    places: Vec<Option<Subscription>>,
    empty: usize,
    /// The place at which the pass continues.
    next: usize,
    /// A write queue was over its high watermark during a pass.
    pub(super) over_watermark: bool,
}

/// Connections with corked frames; the shard uncorks them.
pub(crate) type Corked = Vec<Arc<WriteQueue>>;

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.empty
    }

    /// Adds a subscription that has every event up to `after`, and removes an earlier one of the same connection.
    pub(super) fn subscribe(&mut self, room: RoomId, subscriber: &Arc<Subscriber>, access: Access, after: Seq) {
        if !subscriber.room_set().insert(room) {
            self.remove(subscriber.id);
        }
        self.places.push(Some(Subscription { id: subscriber.id, subscriber: subscriber.clone(), access, after }));
    }

    /// Sends a frame to a subscriber. Returns whether it is subscribed.
    pub(super) fn send(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        let subscription = self.places.iter().flatten().find(|subscription| subscription.id == connection);
        subscription.map(|subscription| subscription.subscriber.write_queue.send(frame.clone())).is_some()
    }

    /// Sends a signal to the next subscriptions before `place`, while `goes_on` returns true. Returns how many got it, and how
    /// many dropped it as too slow.
    ///
    /// From the end to the beginning, because removals move subscriptions towards the beginning: between two parts none of them
    /// gets past `place`.
    pub(super) fn signal(&self, signal: &RoomSignal<'_>, place: &mut usize, goes_on: impl Fn() -> bool) -> (u64, u64) {
        let end = (*place).min(self.places.len());
        *place = end.saturating_sub(AT_ONCE);
        let (mut sent, mut dropped) = (0, 0);
        for subscription in self.places.get(*place..end).unwrap_or_default().iter().rev().flatten() {
            if !goes_on() {
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
        let place = self.places.iter().position(is_it)?;
        let subscription = if self.next == 0 {
            self.places.swap_remove(place)
        } else {
            self.empty += 1;
            self.places.get_mut(place)?.take()
        };
        if self.places.is_empty() {
            self.places = Vec::new();
        }
        subscription
    }

    /// Whether a write queue is still over its high watermark.
    pub(super) fn any_over_watermark(&self) -> bool {
        self.places.iter().flatten().any(|subscription| subscription.subscriber.write_queue.over_high_watermark())
    }

    /// Changes the access of a subscription.
    pub(super) fn set_access(&mut self, connection: ConnectionId, access: Access) {
        if let Some(subscription) = self.places.iter_mut().flatten().find(|subscription| subscription.id == connection) {
            subscription.access = access;
        }
    }

    /// Whether frames for these subscriptions are corked until the end of the turn.
    pub(super) fn are_few(&self) -> bool {
        self.len() <= MAX_CORKED
    }

    /// Continues the pass with the next `most` subscriptions. Returns whether the pass ended.
    pub(super) fn serve(&mut self, service: &mut Service<'_>, most: usize) -> bool {
        let end = (self.next + most).min(self.places.len());
        for group in self.places.get_mut(self.next..end).unwrap_or_default().chunks_mut(FETCHED) {
            // Writes evict these lines from the CPU caches. Prefetching them together overlaps the cache misses.
            group.iter().flatten().for_each(|subscription| subscription.subscriber.write_queue.fetch());
            for place in group {
                if place.as_mut().is_some_and(|subscription| !service.serve(subscription)) {
                    *place = None;
                    self.empty += 1;
                }
            }
        }
        service.batch.submit();
        self.over_watermark = self.over_watermark || service.over_watermark;
        self.next = end;
        let ended = end == self.places.len();
        if ended {
            self.next = 0;
            if self.empty > 0 {
                self.places.retain(Option::is_some);
                self.empty = 0;
            }
        }
        ended
    }

    /// Sends a frame to all subscriptions in the order of arrival (the fault `TrustTheBus`).
    #[cfg(test)]
    pub(super) fn trust(&mut self, seq: Seq, frame: &Bytes) {
        for subscription in self.places.iter_mut().flatten() {
            subscription.subscriber.write_queue.send(frame.clone());
            subscription.after = subscription.after.max(seq);
        }
    }
}
