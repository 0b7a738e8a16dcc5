//! A room with subscriptions on this node: orders events by `seq` and delivers them.
//!
//! The bus may lose, repeat and reorder events. The room drops duplicates, keeps early events in a reorder buffer, and requests
//! a backfill from the store for a gap.
//!
//! Delivery runs in passes over the subscriptions, some of them at a time ([`Room::serve`]). Each subscription records up to
//! where it has the room, so a pass sends it all newer events in one write: the busier the room, the more frames per write.

mod frames;
mod service;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, Event, RoomId, Seq, UserId};
use tokio::time::Instant;

use self::frames::Frames;
use self::service::Service;
pub(crate) use self::subscriptions::Corked;
use self::subscriptions::Subscriptions;
use crate::batch::{Batch, OneByOne};
use crate::frame::EventBytes;
use crate::subscriber::Subscriber;

/// Maximum number of early events. Further ones are dropped; a backfill reads them from the store.
const MAX_REORDERED: usize = 256;
/// From this many subscriptions on, a room is large. A busy large room has a cooldown between two passes, as long as the
/// previous pass took, within these bounds. Events that arrive meanwhile share the next writes, and a write of ten events costs
/// nearly the same as one.
#[cfg(not(test))]
const LARGE: usize = 256;
#[cfg(test)]
pub(crate) const LARGE: usize = 6;
const COOLDOWN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));
/// How often, and how long each time, a room postpones a pass for subscriptions over their high watermark: a burst arrives
/// faster than anybody reads it, and that alone does not make a client slow. After that the pass runs, and slow clients are
/// closed.
const MAX_WAITS: u32 = 10;
const WAIT: Duration = Duration::from_millis(5);
/// Maximum number of undelivered events, and their bytes. Further events are dropped, and read from the store after the
/// delivery.
const MAX_UNDELIVERED: usize = 1_024;
const MAX_UNDELIVERED_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Whether the room is large. Outside the lock, which the room's shard holds most of the time.
    large: AtomicBool,
    /// The newest event that ended a membership, known as soon as its commit. Outside the lock, because commits must never wait
    /// for it.
    departing: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest ordered event; `None` until the first subscriber has read the room.
    last: Option<Seq>,
    /// Every subscription has all events up to here.
    delivered_up_to: Seq,
    /// The current pass.
    pass: Option<Pass>,
    frames: Frames,
    /// The number of undelivered events in `frames`, and their bytes.
    undelivered: (usize, usize),
    /// Events that arrived early.
    reorder_buffer: BTreeMap<Seq, Arc<Event>>,
    subscriptions: Subscriptions,
    /// How often the next pass was postponed.
    waits: u32,
    /// The room is in a shard's list.
    listed: bool,
    /// Events were dropped because too many were undelivered.
    dropped: bool,
    /// Joins in progress, which keep the room in the hub.
    pins: usize,
    /// The hub has removed this room; a join that still holds it must look it up again.
    forgotten: bool,
    /// A backfill is in progress.
    backfilling: bool,
}

/// A pass over the subscriptions.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// The event up to which it brings all subscriptions.
    up_to: Seq,
    began: Instant,
}

/// The result of an attempt to subscribe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// The subscriber gets every event above its cursor. With `gap`, the caller must request a backfill.
    Yes { gap: bool },
    /// The room has newer events: read from the cursor on and try again.
    Behind,
    /// The room or the connection is gone.
    Gone,
}

/// The result of accepting events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// There is a gap without a backfill: the caller must request one.
    pub(crate) gap: bool,
    /// There are undelivered events and the room is not listed: the caller must list it.
    pub(crate) list: bool,
    /// The limit of undelivered events was reached, and some were dropped.
    pub(crate) full: bool,
}

/// The result of serving a part of a pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// The remaining work.
    pub(crate) left: Left,
    /// Frames given to subscriptions, counted per subscription.
    pub(crate) delivered: u64,
    /// Number of subscriptions served.
    pub(crate) subscriptions: usize,
    /// Dropped events must be read from the store.
    pub(crate) gap: bool,
    /// No work and no subscription remains: the hub forgets the room unless it is joined.
    pub(crate) is_deserted: bool,
}

/// The remaining work of a room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Left {
    /// None: the shard takes the room off its list.
    #[default]
    Nothing,
    /// The remainder of a pass.
    Pass,
    /// Another pass for newer events.
    Another,
    /// Another pass, after this cooldown.
    Cooldown(Duration),
}

/// A signal to subscriptions of a room.
pub(crate) struct RoomSignal<'a> {
    pub(crate) frame: Bytes,
    /// The user whose connections do not get it.
    pub(crate) except: Option<UserId>,
    /// The only connection that gets it, if any.
    pub(crate) to: Option<ConnectionId>,
    /// Every subscription gets this event before it.
    pub(crate) after: Seq,
    /// Set before the delivery of an event that makes the signal obsolete.
    pub(crate) ended: Option<&'a AtomicBool>,
}

impl RoomSignal<'_> {
    fn is_ended(&self) -> bool {
        self.ended.is_some_and(|ended| ended.load(Ordering::Acquire))
    }

    fn is_for(&self, subscriber: &Subscriber) -> bool {
        self.to.is_none_or(|to| subscriber.id == to) && self.except.is_none_or(|user| !subscriber.caller().is(user))
    }
}

/// The result of sending a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// Events before the signal are undelivered: try again later, or drop the signal.
    Behind,
    /// How many subscriptions got the signal and how many dropped it as too slow. With `more`, further subscriptions remain.
    Sent { sent: u64, dropped: u64, more: bool },
}

/// Faults that the simulation plants, to prove that it detects them.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Delivers events in the order of the bus.
    TrustTheBus,
    /// Subscribes without comparing the cursor with the room.
    SubscribeWithoutCheck,
    /// Keeps sending to former members.
    KeepTheDeparted,
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        Self { id, large: AtomicBool::new(false), departing: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Whether a shard of large rooms serves this room.
    pub(crate) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Keeps the room in the hub for a join; `false` if the hub has removed it.
    pub(crate) fn pin(&self) -> bool {
        let mut state = self.state();
        if state.forgotten {
            return false;
        }
        state.pins += 1;
        true
    }

    pub(crate) fn unpin(&self) {
        self.state().pins -= 1;
    }

    /// Marks the room as forgotten if it has no subscriptions and no pins.
    pub(crate) fn forget_if_unused(&self) -> bool {
        let mut state = self.state();
        state.forgotten = state.forgotten || (state.subscriptions.len() == 0 && state.pins == 0);
        state.forgotten
    }

    /// Accepts events in any order.
    pub(crate) fn accept(&self, events: &[Arc<Event>], #[cfg(test)] fault: Option<Fault>) -> Accepted {
        let mut state = self.state();
        let mut full = false;
        for event in events {
            #[cfg(test)]
            if fault == Some(Fault::TrustTheBus) {
                state.trust(event);
                continue;
            }
            match state.last {
                Some(last) if event.seq <= last => {}
                Some(last) if event.seq == last.next() => {
                    if state.is_full() {
                        full = true;
                        break;
                    }
                    state.put(event);
                    state.put_reordered();
                }
                _ => state.keep_for_later(event),
            }
        }
        state.dropped = state.dropped || full;
        // After drops, the backfill is requested once the undelivered events are out.
        let gap = state.has_gap() && !state.backfilling && !state.dropped;
        state.backfilling = state.backfilling || gap;
        Accepted { gap, list: state.list(), full }
    }

    /// Serves the next part of the pass. Only one shard may call it.
    pub(crate) fn serve(&self, corked: &mut Corked, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut state = self.state();
        self.large.store(state.subscriptions.len() >= LARGE, Ordering::Relaxed);
        let served = state.serve(
            self.id,
            corked,
            batch,
            #[cfg(test)]
            fault,
        );
        let is_deserted = served.left == Left::Nothing && state.subscriptions.len() == 0;
        Served { is_deserted, ..served }
    }

    /// The newest ordered event; `None` while there is no subscriber.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.state().last
    }

    /// Whether the room lacks an event up to `up_to` and can accept it. After drops it cannot: a backfill follows the delivery
    /// of the undelivered events.
    pub(crate) fn lacks(&self, up_to: Seq) -> bool {
        let state = self.state();
        !state.dropped && state.last.is_some_and(|last| last < up_to)
    }

    /// Claims the backfill of this room; `false` if one is in progress.
    pub(crate) fn begin_backfill(&self) -> bool {
        !std::mem::replace(&mut self.state().backfilling, true)
    }

    pub(crate) fn end_backfill(&self) {
        self.state().backfilling = false;
    }

    /// Subscribes a subscriber that has read everything up to `cursor` from the store. If `access` requires membership, the
    /// snapshot of that read saw the user as a member.
    pub(crate) fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        access: Access,
        cursor: Seq,
        max_bytes: usize,
        #[cfg(test)] fault: Option<Fault>,
    ) -> Subscribed {
        let mut state = self.state();
        if state.forgotten || subscriber.is_gone() || subscriber.write_queue.is_ended() {
            return Subscribed::Gone;
        }
        let Some(last) = state.last else {
            // The first subscriber sets the position of the room. Events from the bus waited in `reorder_buffer`.
            state.last = Some(cursor);
            state.delivered_up_to = cursor;
            state.subscriptions.subscribe(self.id, subscriber, access, cursor);
            state.reorder_buffer.retain(|seq, _| *seq > cursor);
            state.put_reordered();
            let gap = state.serve_all(
                self.id,
                #[cfg(test)]
                fault,
            );
            return Subscribed::Yes { gap };
        };
        #[cfg(test)]
        let last = if fault == Some(Fault::SubscribeWithoutCheck) { cursor } else { last };
        if cursor < last {
            let Some(missed) = state.frames.run(cursor, last).filter(|missed| missed.len() <= max_bytes) else {
                return Subscribed::Behind;
            };
            if let Access::Member(user) = access
                && state.frames.departure(user, cursor).is_some()
            {
                // The store knows whether the user has joined again since.
                return Subscribed::Behind;
            }
            subscriber.write_queue.send(missed);
        }
        #[cfg(test)]
        let last = state.last.unwrap_or(last);
        state.subscriptions.subscribe(self.id, subscriber, access, cursor.max(last));
        self.large.store(state.subscriptions.len() >= LARGE, Ordering::Relaxed);
        Subscribed::Yes { gap: false }
    }

    /// Sends a frame to a subscriber if it is subscribed, in any order with the room's events but before the `left` that ends
    /// the subscription. Returns whether it is subscribed.
    pub(crate) fn send_to_subscription(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        self.state().subscriptions.send(connection, frame)
    }

    /// Sends a signal to the next subscriptions before `place`. Nothing is sent before every subscription has all events that
    /// precede the signal, and the newest departure, so former members never get it.
    pub(crate) fn signal(&self, signal: &RoomSignal<'_>, place: &mut usize) -> Signalled {
        let state = self.state();
        let delivered_up_to = state.delivered_up_to;
        let departing = || Seq::new(self.departing.load(Ordering::Acquire));
        let is_behind = || state.subscriptions.len() > 0 && delivered_up_to < signal.after.max(departing());
        if is_behind() {
            return Signalled::Behind;
        }
        let (sent, dropped) =
            state.subscriptions.signal(signal, place, || departing() <= delivered_up_to && !signal.is_ended());
        if is_behind() {
            // A membership ended on the way, and the subscriptions after that have not got the signal.
            return Signalled::Behind;
        }
        Signalled::Sent { sent, dropped, more: *place > 0 }
    }

    /// Records that a commit ended a membership: signals wait until its subscriptions are gone.
    pub(crate) fn departs(&self, seq: Seq) {
        self.departing.fetch_max(seq.get(), Ordering::AcqRel);
    }

    /// The number of subscriptions.
    pub(crate) fn subscribers(&self) -> usize {
        self.state().subscriptions.len()
    }

    /// Sends a subscriber a last frame and unsubscribes it.
    pub(crate) fn evict(&self, connection: ConnectionId, last: &Bytes) -> bool {
        let mut state = self.state();
        state.subscriptions.send(connection, last) && state.subscriptions.unsubscribe(self.id, connection)
    }

    /// Unsubscribes a subscriber.
    pub(crate) fn unsubscribe(&self, connection: ConnectionId) -> bool {
        self.state().subscriptions.unsubscribe(self.id, connection)
    }

    /// Changes the access of a subscription.
    pub(crate) fn set_access(&self, connection: ConnectionId, access: Access) {
        self.state().subscriptions.set_access(connection, access);
    }

    /// Holds the room's lock until the returned value is dropped.
    #[cfg(test)]
    pub(crate) fn keep_busy(&self) -> impl Sized {
        self.state()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether an event before the first early one is missing.
    fn has_gap(&self) -> bool {
        let first = self.reorder_buffer.first_key_value();
        self.last.zip(first).is_some_and(|(last, (first, _))| *first > last.next())
    }

    fn is_full(&self) -> bool {
        self.undelivered.0 >= MAX_UNDELIVERED || self.undelivered.1 >= MAX_UNDELIVERED_BYTES
    }

    /// Appends the next event in order.
    fn put(&mut self, event: &Arc<Event>) {
        let encoded = EventBytes::encode(event);
        self.undelivered = (self.undelivered.0 + 1, self.undelivered.1 + encoded.frame.len());
        self.frames.push(encoded);
        self.last = Some(event.seq);
    }

    /// Moves events that are next in order from `reorder_buffer` to `frames`, up to the limit of undelivered events.
    fn put_reordered(&mut self) {
        while let Some(last) = self.last {
            let full = self.is_full();
            match self.reorder_buffer.first_entry() {
                Some(first) if *first.key() <= last => {
                    first.remove();
                }
                Some(first) if *first.key() == last.next() && !full => {
                    let event = first.remove();
                    self.put(&event);
                }
                _ => return,
            }
        }
    }

    fn keep_for_later(&mut self, event: &Arc<Event>) {
        if self.reorder_buffer.len() < MAX_REORDERED {
            self.reorder_buffer.insert(event.seq, event.clone());
        }
    }

    /// Whether the caller must list the room in a shard.
    fn list(&mut self) -> bool {
        let due = self.last.is_some_and(|last| last > self.delivered_up_to);
        let list = due && !self.listed;
        self.listed = self.listed || list;
        list
    }

    fn serve(&mut self, room: RoomId, corked: &mut Corked, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut served = Served::default();
        let Some(last) = self.last.filter(|last| *last > self.delivered_up_to) else {
            self.listed = false;
            return served;
        };
        if self.pass.is_none() && self.subscriptions.over_watermark {
            if self.waits < MAX_WAITS && self.subscriptions.any_over_watermark() {
                self.waits += 1;
                served.left = Left::Cooldown(WAIT);
                return served;
            }
            (self.waits, self.subscriptions.over_watermark) = (0, false);
        }
        // Subscriptions late in the pass also get events that arrived since it began; all get at least those up to `up_to`.
        let pass = *self.pass.get_or_insert_with(|| Pass { up_to: last, began: Instant::now() });
        let most = subscriptions::at_once(self.undelivered.1);
        served.subscriptions = self.subscriptions.len().min(most);
        let mut service = Service {
            room,
            frames: &mut self.frames,
            last,
            corked,
            batch,
            corks: self.subscriptions.are_few(),
            delivered: 0,
            over_watermark: false,
            #[cfg(test)]
            keep_departed: fault == Some(Fault::KeepTheDeparted),
        };
        let ended = self.subscriptions.serve(&mut service, most);
        served.delivered = service.delivered;
        if !ended {
            served.left = Left::Pass;
            return served;
        }
        self.pass = None;
        let frames = pass.up_to.get() - self.delivered_up_to.get();
        self.delivered_up_to = pass.up_to;
        self.frames.trim(pass.up_to);
        self.undelivered = self.frames.above(pass.up_to);
        self.put_reordered();
        let more = self.last.is_some_and(|last| last > pass.up_to);
        if self.subscriptions.len() >= LARGE && (more || frames > 1) {
            served.left = Left::Cooldown(pass.began.elapsed().clamp(COOLDOWN.0, COOLDOWN.1));
        } else if more {
            served.left = Left::Another;
        } else {
            self.listed = false;
        }
        if !more {
            let dropped = std::mem::take(&mut self.dropped);
            served.gap = (dropped || self.has_gap()) && !self.backfilling;
            self.backfilling = self.backfilling || served.gap;
        }
        served
    }

    /// Delivers all events of a room with one subscription. Returns whether a backfill is needed.
    fn serve_all(&mut self, room: RoomId, #[cfg(test)] fault: Option<Fault>) -> bool {
        let mut corked = Corked::new();
        let mut gap = self.has_gap() && !self.backfilling;
        self.backfilling = self.backfilling || gap;
        while self.last.is_some_and(|last| last > self.delivered_up_to) {
            let served = self.serve(
                room,
                &mut corked,
                &mut OneByOne,
                #[cfg(test)]
                fault,
            );
            gap = gap || served.gap;
        }
        corked.iter().for_each(|write_queue| write_queue.uncork());
        gap
    }

    #[cfg(test)]
    fn trust(&mut self, event: &Arc<Event>) {
        self.subscriptions.trust(event.seq, &EventBytes::encode(event).frame);
        let last = self.last.map(|last| last.max(event.seq));
        self.last = last;
        self.delivered_up_to = last.unwrap_or(self.delivered_up_to);
        self.frames = Frames::default();
    }
}
