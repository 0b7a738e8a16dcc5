//! The hub: the rooms with subscriptions on this node, and the entry point for commits and signals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use chatsphere_core::store::Ack;
use chatsphere_core::{Access, CommitSink, Committed, Event, RoomId, Seq, Signal, SignalSink, Topic};
use metrics::{Counter, counter};
use tokio::sync::mpsc;

use crate::fanout_shard::{FanoutShard, ShardSender};
use crate::interest::Interest;
#[cfg(test)]
use crate::room::Fault;
use crate::room::Room;
use crate::signal::{Connections, Signals};
use crate::subscriber::Subscriber;

/// The rooms that connections of this node are subscribed to, and the shards that deliver their events.
pub struct Hub {
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    shards: Vec<ShardSender>,
    /// The shards of large rooms.
    large_rooms: Vec<ShardSender>,
    /// Rooms that need a backfill.
    gaps: mpsc::UnboundedSender<RoomId>,
    /// The hub's counters.
    pub(crate) meters: Meters,
    pub(crate) signals: Signals,
    /// The rooms and users that have connections on this node.
    pub interest: Arc<Interest>,
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

/// Counters of the hub.
pub(crate) struct Meters {
    pub(crate) events_in: Counter,
    pub(crate) events_out: Counter,
}

/// The parts of a hub that run as tasks: each shard by [`FanoutShard::run`], the gaps by [`crate::reconcile::run`]. The caller
/// also spawns [`crate::signal::run`].
pub struct HubTasks {
    /// The shards of the fan-out.
    pub shards: Vec<FanoutShard>,
    /// Shards of large rooms. They write for milliseconds at a time, and other rooms must not wait for that.
    pub large_rooms: Vec<FanoutShard>,
    /// Rooms with a gap, each at most once.
    pub gaps: mpsc::UnboundedReceiver<RoomId>,
}

impl Hub {
    /// A hub with `shards` shards for small rooms and as many for large ones. A room always belongs to the same shard of each
    /// kind.
    pub fn new(shards: usize) -> (Self, HubTasks) {
        let new = |of_large_rooms| (0..shards.max(1)).map(|_| FanoutShard::new(of_large_rooms)).unzip::<_, _, Vec<_>, Vec<_>>();
        let ((senders, shards), (large_room_senders, large_rooms)) = (new(false), new(true));
        let (gaps, gaps_receiver) = mpsc::unbounded_channel();
        let hub = Self {
            rooms: Mutex::default(),
            shards: senders,
            large_rooms: large_room_senders,
            gaps,
            meters: Meters {
                events_in: counter!("chatsphere_events_in_total"),
                events_out: counter!("chatsphere_events_out_total"),
            },
            signals: Signals::new(),
            interest: Arc::default(),
            #[cfg(test)]
            fault: None,
        };
        (hub, HubTasks { shards, large_rooms, gaps: gaps_receiver })
    }

    /// Sets where signals find the connections of a user. Only the first call has an effect.
    pub fn set_connections(&self, connections: Weak<dyn Connections>) {
        self.signals.set_connections(connections);
    }
}

impl CommitSink for Hub {
    fn committed(&self, batch: Committed) {
        self.meters.events_in.increment(batch.events.len() as u64);
        self.send(batch.events, batch.acks);
    }
}

impl SignalSink for Hub {
    fn signal(&self, signal: Signal) {
        self.signals.push(signal);
    }
}

impl Hub {
    /// Delivers events of rooms, in any order, to the subscriptions.
    pub fn publish(&self, events: Vec<Arc<Event>>) {
        self.send(events, Vec::new());
    }

    fn send(&self, events: Vec<Arc<Event>>, acks: Vec<Ack>) {
        self.before_delivery(&events);
        if let [shard] = &*self.shards {
            return shard.send(events, acks);
        }
        let mut by_shard: Vec<(Vec<Arc<Event>>, Vec<Ack>)> = self.shards.iter().map(|_| Default::default()).collect();
        for event in events {
            by_shard[self.shard_of(event.room_id)].0.push(event);
        }
        for ack in acks {
            by_shard[ack.room_id.map_or(0, |room| self.shard_of(room))].1.push(ack);
        }
        for (shard, (events, acks)) in self.shards.iter().zip(by_shard) {
            shard.send(events, acks);
        }
    }

    /// Applies the effects of events before their delivery: ends obsolete signals, and records departures.
    fn before_delivery(&self, events: &[Arc<Event>]) {
        for event in events.iter().filter(|event| event.departed().is_some()) {
            if let Some(room) = self.room(event.room_id) {
                room.record_departure(event.seq);
            }
        }
        self.signals.end_obsolete(events);
    }

    pub(crate) fn send_to_large_room(&self, id: RoomId, events: Vec<Arc<Event>>) {
        self.large_rooms[self.shard_of(id)].send(events, Vec::new());
    }

    /// Adds a room with undelivered events to the run queue of its shard.
    pub(crate) fn schedule(&self, room: Arc<Room>) {
        let shards = if room.is_large() { &self.large_rooms } else { &self.shards };
        shards[self.shard_of(room.id)].schedule(room);
    }

    /// Rooms are spread by the last byte of their id, which is random.
    fn shard_of(&self, id: RoomId) -> usize {
        usize::from(id.as_bytes()[15]) % self.shards.len()
    }

    /// Adds events that were read from the store to a room, and leaves their delivery to the shard. Returns whether the room
    /// accepted all of them.
    pub(crate) fn backfill(&self, id: RoomId, events: &[Arc<Event>]) -> bool {
        let Some(room) = self.room(id) else { return true };
        self.before_delivery(events);
        let accepted = room.accept(
            events,
            #[cfg(test)]
            self.fault,
        );
        if accepted.needs_backfill {
            self.ask_for_backfill(id);
        }
        if accepted.needs_scheduling {
            self.schedule(room);
        }
        !accepted.full
    }

    /// Requests a backfill of a room up to an event, unless one is under way.
    pub(crate) fn ask_for(&self, room: &Room, up_to: Seq) {
        if room.lacks(up_to) && room.claim_backfill() {
            self.ask_for_backfill(room.id);
        }
    }

    pub(crate) fn ask_for_backfill(&self, id: RoomId) {
        // The receiver is gone only while the node stops.
        let _ = self.gaps.send(id);
    }

    /// Unsubscribes a connection from a room. Nothing of the room is sent to it after this returns. Returns whether it was
    /// subscribed.
    pub fn leave(&self, subscriber: &Subscriber, room: RoomId) -> bool {
        let was_subscribed = self.room(room).is_some_and(|room| room.unsubscribe(subscriber.id));
        self.remove_if_unused(room);
        was_subscribed
    }

    /// Sends a connection a final frame of the room and unsubscribes it. Returns whether it was subscribed.
    pub fn evict(&self, subscriber: &Subscriber, room: RoomId, final_frame: &Bytes) -> bool {
        let was_subscribed = self.room(room).is_some_and(|room| room.evict(subscriber.id, final_frame));
        self.remove_if_unused(room);
        was_subscribed
    }

    /// Ends all subscriptions of a connection that closed.
    pub fn disconnect(&self, subscriber: &Subscriber) {
        subscriber.set_gone();
        for room in subscriber.rooms() {
            self.leave(subscriber, room);
        }
    }

    /// Changes the access with which a connection is subscribed to a room.
    pub fn set_access(&self, subscriber: &Subscriber, room: RoomId, access: Access) {
        if let Some(room) = self.room(room) {
            room.set_access(subscriber.id, access);
        }
    }

    /// The number of rooms with subscriptions or pending joins.
    pub fn room_count(&self) -> usize {
        self.rooms().len()
    }

    pub(crate) fn room(&self, id: RoomId) -> Option<Arc<Room>> {
        self.rooms().get(&id).cloned()
    }

    pub(crate) fn room_ids(&self) -> Vec<RoomId> {
        self.rooms().keys().copied().collect()
    }

    /// Keeps a room in the hub; from now on the room keeps the events that it receives.
    pub(crate) fn pin(&self, id: RoomId) -> RoomPin<'_> {
        loop {
            // Never wait for a room's lock while holding the lock of all rooms: a large room would block the others.
            let new = || {
                self.interest.add(Topic::Room(id));
                Arc::new(Room::new(id))
            };
            let room = self.rooms().entry(id).or_insert_with(new).clone();
            if room.pin() {
                return RoomPin { hub: self, room };
            }
            self.remove(&room);
        }
    }

    /// Removes a room without subscriptions and pending joins.
    pub(crate) fn remove_if_unused(&self, id: RoomId) {
        if let Some(room) = self.room(id).filter(|room| room.mark_removed_if_unused()) {
            self.remove(&room);
        }
    }

    /// Removes a room that is marked as removed, unless it was already replaced.
    fn remove(&self, room: &Arc<Room>) {
        let mut rooms = self.rooms();
        if rooms.get(&room.id).is_some_and(|other| Arc::ptr_eq(other, room)) {
            rooms.remove(&room.id);
            self.interest.remove(Topic::Room(room.id));
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a room in the hub until it is dropped.
pub(crate) struct RoomPin<'a> {
    hub: &'a Hub,
    pub(crate) room: Arc<Room>,
}

impl Drop for RoomPin<'_> {
    fn drop(&mut self) {
        self.room.unpin();
        self.hub.remove_if_unused(self.room.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use chatsphere_core::Timestamp;

    use super::*;

    #[test]
    fn a_busy_room_holds_up_no_other() {
        let uses: [fn(&Hub, RoomId); 2] = [|hub, room| drop(hub.pin(room)), Hub::remove_if_unused];
        for waits_for_it in uses {
            let hub = Hub::new(1).0;
            let id = |millis| RoomId::new(Timestamp::from_millis(millis));
            let (busy, other) = (id(1), id(2));
            let pin = hub.pin(busy);
            let held = Arc::strong_count(&pin.room);
            thread::scope(|threads| {
                let lock = pin.room.hold_lock();
                threads.spawn(|| waits_for_it(&hub, busy));
                // Until that thread holds the room or the lock of all rooms.
                while Arc::strong_count(&pin.room) == held && hub.rooms.try_lock().is_ok() {
                    thread::yield_now();
                }
                let (sender, done) = mpsc::channel();
                threads.spawn({
                    let hub = &hub;
                    move || {
                        drop(hub.pin(other));
                        sender.send(())
                    }
                });
                let done = done.recv_timeout(Duration::from_secs(20));
                drop(lock);
                assert!(done.is_ok(), "another room waits for the busy one");
            });
        }
    }
}
