//! Who listens to a room, and up to where each of them has it.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, RoomId, Seq, UserId};

use super::service::Service;
use crate::subscriber::Subscriber;
use crate::write_queue::WriteQueue;

/// Subscriptions served under one hold of the room's lock, at most, so that one large room holds up neither its joins nor its
/// shard for long.
#[cfg(not(test))]
const AT_ONCE: usize = 128;
#[cfg(test)]
const AT_ONCE: usize = 2;
/// Bytes handed to them together, some tenths of a millisecond's work for the kernel; but to a few subscriptions at least.
const BYTES_AT_ONCE: usize = 128 * 1024;
const FEW: usize = 16;
/// Up to so many subscriptions, frames are held until the shard has all that it has for the connection. Beyond it, a room's own
/// frames are what there is, and each is written at once.
const HELD_UP_TO: usize = 64;
/// Subscriptions that are fetched into the caches together.
const FETCHED: usize = 8;

/// How many subscriptions are served under one hold of the lock, if so many bytes are due for each.
pub(super) fn at_once(due: usize) -> usize {
    (BYTES_AT_ONCE / due.max(1)).clamp(FEW.min(AT_ONCE), AT_ONCE)
}

/// A subscriber's place in a room.
#[derive(Debug)]
pub(super) struct Subscription {
    id: ConnectionId,
    pub(super) subscriber: Arc<Subscriber>,
    /// With which eyes it listens: a member's end with the membership.
    pub(super) access: Access,
    /// It has every event up to here.
    pub(super) after: Seq,
}

/// The subscriptions of a room, and the pass under way that brings all of them up to date.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// A subscription given up during a pass stays as an empty place, so that the pass misses nobody.
    places: Vec<Option<Subscription>>,
    empty: usize,
    /// The place where the pass goes on.
    next: usize,
    /// Somebody had not taken what came before when a pass gave more.
    pub(super) pressed: bool,
}

/// Connections with held frames, which are to be released.
pub(crate) type Held = Vec<Arc<WriteQueue>>;

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.empty
    }

    /// Places, the empty ones among them.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Subscribes a subscriber that has everything up to `after`; an earlier subscription of it ends.
    pub(super) fn subscribe(&mut self, room: RoomId, subscriber: &Arc<Subscriber>, access: Access, after: Seq) {
        if !subscriber.room_set().insert(room) {
            self.give_up(subscriber.id);
        }
        self.places.push(Some(Subscription { id: subscriber.id, subscriber: subscriber.clone(), access, after }));
    }

    /// Sends something to a subscriber that has a subscription. Answers whether it has one.
    pub(super) fn send(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        let subscription = self.places.iter().flatten().find(|subscription| subscription.id == connection);
        subscription.map(|subscription| subscription.subscriber.write_queue.send(frame.clone())).is_some()
    }

    /// Sends a frame that may be lost to the next subscriptions from `place` on, but for those of one user, for as long as
    /// `goes_on`. Answers how many got it, and how many are behind with reading.
    pub(super) fn signal(
        &self,
        frame: &Bytes,
        except: Option<UserId>,
        place: &mut usize,
        goes_on: impl Fn() -> bool,
    ) -> (u64, u64) {
        let end = (*place + AT_ONCE).min(self.places.len());
        let (mut sent, mut dropped) = (0, 0);
        for subscription in self.places.get(*place..end).unwrap_or_default().iter().flatten() {
            if !goes_on() {
                break;
            }
            if except.is_some_and(|user| subscription.subscriber.caller().is(user)) {
                continue;
            }
            if subscription.subscriber.write_queue.send_if_current(frame.clone()) {
                sent += 1;
            } else {
                dropped += 1;
            }
        }
        *place = end;
        (sent, dropped)
    }

    /// Takes a subscriber's subscription away.
    pub(super) fn unsubscribe(&mut self, room: RoomId, connection: ConnectionId) -> bool {
        let subscription = self.give_up(connection);
        subscription.is_some_and(|subscription| subscription.subscriber.room_set().remove(room))
    }

    fn give_up(&mut self, connection: ConnectionId) -> Option<Subscription> {
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

    /// Whether somebody still has not taken what came before.
    pub(super) fn any_pressed(&self) -> bool {
        self.places.iter().flatten().any(|subscription| subscription.subscriber.write_queue.over_high_watermark())
    }

    /// Changes with which eyes a subscriber listens.
    pub(super) fn set_access(&mut self, connection: ConnectionId, access: Access) {
        if let Some(subscription) = self.places.iter_mut().flatten().find(|subscription| subscription.id == connection) {
            subscription.access = access;
        }
    }

    /// Whether frames for these subscriptions are held until the shard has all that it has for a connection.
    pub(super) fn are_few(&self) -> bool {
        self.len() <= HELD_UP_TO
    }

    /// Goes on with the pass: serves the next subscriptions, `most` of them. Answers whether that was the pass's end.
    pub(super) fn serve(&mut self, service: &mut Service<'_>, most: usize) -> bool {
        let end = (self.next + most).min(self.places.len());
        for group in self.places.get_mut(self.next..end).unwrap_or_default().chunks_mut(FETCHED) {
            // Between two writes the kernel has used the caches for itself. Fetched together, they are waited for together.
            group.iter().flatten().for_each(|subscription| subscription.subscriber.write_queue.fetch());
            for place in group {
                if place.as_mut().is_some_and(|subscription| !service.serve(subscription)) {
                    *place = None;
                    self.empty += 1;
                }
            }
        }
        service.batch.submit();
        self.pressed = self.pressed || service.pressed;
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

    /// Hands a frame to everyone as it comes, which is what the order of `seq` forbids.
    #[cfg(test)]
    pub(super) fn trust(&mut self, seq: Seq, frame: &Bytes) {
        for subscription in self.places.iter_mut().flatten() {
            subscription.subscriber.write_queue.send(frame.clone());
            subscription.after = subscription.after.max(seq);
        }
    }
}
