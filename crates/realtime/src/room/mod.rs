//! One room that somebody on this node listens to: puts what the bus brings into the order of `seq` and hands it out.
//!
//! The bus is a hint, the store is the truth: what comes twice is dropped, what comes early waits, and a gap is read from the
//! store.
//!
//! Handing out goes in passes over the subscriptions, some subscriptions at a time ([`Room::serve`]). Each subscription knows
//! up to where it has the room, so a pass gives it all that has come since, in one write: the busier a room, the more frames a
//! write carries.

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
pub(crate) use self::subscriptions::Held;
use self::subscriptions::Subscriptions;
use crate::batch::{Batch, OneByOne};
use crate::frame::EventBytes;
use crate::subscriber::Subscriber;

/// Events that may wait for an earlier one. More are dropped: a backfill reads them from the store.
const MAX_REORDERED: usize = 256;
/// From so many subscriptions on, a room is a large room. A busy large room has a cooldown between two passes for as long as
/// the one before took, within these bounds. What comes meanwhile goes out in the same writes, and a write costs nearly the
/// same with one event or ten.
#[cfg(not(test))]
const LARGE: usize = 256;
#[cfg(test)]
pub(crate) const LARGE: usize = 6;
const COOLDOWN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));
/// A room waits so often, and each time so long, for those who have not taken what the pass before gave them: a burst comes
/// faster than anyone reads, and that alone makes nobody slow. After that it goes on, and whoever is slow is closed.
const MAX_WAITS: u32 = 10;
const WAIT: Duration = Duration::from_millis(5);
/// Events that may wait to be handed out, and their bytes. More are dropped, and read from the store when these are out.
const MAX_UNDELIVERED: usize = 1_024;
const MAX_UNDELIVERED_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Whether it has many subscribers. Beside the lock, which the shard of such a room holds for most of the time.
    large: AtomicBool,
    /// The newest event that ended a membership, as soon as this node knows of its commit. Beside the lock, since those who
    /// commit never wait for it.
    departing: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest event that was put in order; unknown until the first subscriber has read the room.
    last: Option<Seq>,
    /// Every subscription has everything up to here.
    delivered_up_to: Seq,
    /// The pass under way.
    pass: Option<Pass>,
    frames: Frames,
    /// What of them not every subscription has: how many, and their bytes.
    undelivered: (usize, usize),
    /// Events that came before their turn.
    reorder_buffer: BTreeMap<Seq, Arc<Event>>,
    subscriptions: Subscriptions,
    /// How often the next pass was put off.
    waits: u32,
    /// A shard has this room on its list.
    listed: bool,
    /// Events were dropped since too many waited.
    dropped: bool,
    /// Joins under way that keep the room in the hub.
    pins: usize,
    /// The hub forgot this room; a join that still holds it must look it up again.
    forgotten: bool,
    /// A backfill is under way.
    backfilling: bool,
}

/// A pass over the subscriptions.
#[derive(Debug, Clone, Copy)]
struct Pass {
    /// Up to where it brings all of them.
    up_to: Seq,
    began: Instant,
}

/// What an attempt to take a subscription came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// From now on the subscriber gets everything above its cursor. With `gap`, something is missing that the caller is to ask
    /// for.
    Yes { gap: bool },
    /// The room has moved on: read from the cursor on and try again.
    Behind,
    /// The room or the connection is gone.
    Gone,
}

/// What came of events that were taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// A gap is left for which no backfill is under way: the caller is to ask for it.
    pub(crate) gap: bool,
    /// There is something to hand out, and no shard knows of it: the caller is to list the room.
    pub(crate) list: bool,
    /// Too much waits; some events were dropped.
    pub(crate) full: bool,
}

/// How far handing out has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// What is left to do.
    pub(crate) left: Left,
    /// Frames given to subscriptions, each counted for each subscription.
    pub(crate) delivered: u64,
    /// How many subscriptions were looked at.
    pub(crate) subscriptions: usize,
    /// Events that were dropped are to be read from the store.
    pub(crate) gap: bool,
}

/// What is left to hand out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: the shard is to take the room off its list.
    #[default]
    Nothing,
    /// The rest of a pass.
    Pass,
    /// Another pass: more came during this one.
    Another,
    /// Another pass, but not before so much time has passed.
    Cooldown(Duration),
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// Not every subscription has yet what came before it: it is to be tried again, or dropped.
    Behind,
    /// So many subscriptions got it, and so many are too slow for it. With `more`, there are others.
    Sent { sent: u64, dropped: u64, more: bool },
}

/// Faults that the simulation plants to see that it finds them.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Hands events out in the order of the bus.
    TrustTheBus,
    /// Takes a subscription without comparing the cursor with the room.
    SubscribeWithoutLooking,
    /// Goes on sending to a former member.
    KeepTheDeparted,
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        Self { id, large: AtomicBool::new(false), departing: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Whether it has so many subscribers that a shard of large rooms is to serve it.
    pub(crate) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Keeps the room in the hub for a join; `false` if the hub has already forgotten it.
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

    /// Marks the room as forgotten if nobody needs it any more.
    pub(crate) fn forget_if_unused(&self) -> bool {
        let mut state = self.state();
        state.forgotten = state.forgotten || (state.subscriptions.len() == 0 && state.pins == 0);
        state.forgotten
    }

    /// Takes in events in any order.
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
        // While too much waits, what is missing is asked for when that is handed out.
        let gap = state.has_gap() && !state.backfilling && !state.dropped;
        state.backfilling = state.backfilling || gap;
        Accepted { gap, list: state.list(), full }
    }

    /// Goes on handing out: to some subscriptions, that the caller may do other things in between. To be called by one shard
    /// alone.
    pub(crate) fn serve(&self, held: &mut Held, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut state = self.state();
        self.large.store(state.subscriptions.len() >= LARGE, Ordering::Relaxed);
        state.serve(
            self.id,
            held,
            batch,
            #[cfg(test)]
            fault,
        )
    }

    /// The newest event that was put in order, if a backfill is wanted: `None` while nobody listens.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.state().last
    }

    /// Whether it is to be told of an event that it does not know. While too much waits it would only be dropped again; what
    /// was dropped is asked for once that is handed out.
    pub(crate) fn lacks(&self, up_to: Seq) -> bool {
        let state = self.state();
        !state.dropped && state.last.is_some_and(|last| last < up_to)
    }

    /// Claims the backfill of this room; `false` if one is under way.
    pub(crate) fn begin_backfill(&self) -> bool {
        !std::mem::replace(&mut self.state().backfilling, true)
    }

    pub(crate) fn end_backfill(&self) {
        self.state().backfilling = false;
    }

    /// Subscribes a subscriber that has read everything up to `cursor`, from the store, in a snapshot that saw it as a member
    /// if `access` asks for that.
    pub(crate) fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        access: Access,
        cursor: Seq,
        most_bytes: usize,
        #[cfg(test)] fault: Option<Fault>,
    ) -> Subscribed {
        let mut state = self.state();
        if state.forgotten || subscriber.is_gone() || subscriber.write_queue.is_ended() {
            return Subscribed::Gone;
        }
        let Some(last) = state.last else {
            // The first subscriber brings the truth with it. What the bus brought meanwhile waited in `reorder_buffer`.
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
        let last = if fault == Some(Fault::SubscribeWithoutLooking) { cursor } else { last };
        if cursor < last {
            let Some(missed) = state.frames.run(cursor, last).filter(|missed| missed.len() <= most_bytes) else {
                return Subscribed::Behind;
            };
            if let Access::Member(user) = access
                && state.frames.departure(user, cursor).is_some()
            {
                // The store tells whether it has come back since.
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

    /// Sends something to a subscriber that has a subscription, before or after anything that the subscription brings, and
    /// surely before the `left` that ends it. Answers whether it has one.
    pub(crate) fn send_to_subscription(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        self.state().subscriptions.send(connection, frame)
    }

    /// Sends a signal to some subscriptions, from `place` on, but to none of `except`. `after`: what every subscription must
    /// have before. So a subscription whose membership has ended is gone by then, or nobody gets it.
    pub(crate) fn signal(&self, frame: &Bytes, except: Option<UserId>, after: Seq, place: &mut usize) -> Signalled {
        let state = self.state();
        let (delivered_up_to, departing) = (state.delivered_up_to, || Seq::new(self.departing.load(Ordering::Acquire)));
        if state.subscriptions.len() > 0 && delivered_up_to < after.max(departing()) {
            return Signalled::Behind;
        }
        let (sent, dropped) = state.subscriptions.signal(frame, except, place, || departing() <= delivered_up_to);
        Signalled::Sent { sent, dropped, more: *place < state.subscriptions.places() }
    }

    /// A commit has ended a membership: signals wait until its subscriptions are gone.
    pub(crate) fn departs(&self, seq: Seq) {
        self.departing.fetch_max(seq.get(), Ordering::AcqRel);
    }

    /// How many listen.
    pub(crate) fn subscribers(&self) -> usize {
        self.state().subscriptions.len()
    }

    /// Takes a subscriber's subscription away and sends it a last frame.
    pub(crate) fn evict(&self, connection: ConnectionId, last: &Bytes) -> bool {
        let mut state = self.state();
        state.subscriptions.send(connection, last) && state.subscriptions.unsubscribe(self.id, connection)
    }

    /// Takes a subscriber's subscription away.
    pub(crate) fn unsubscribe(&self, connection: ConnectionId) -> bool {
        self.state().subscriptions.unsubscribe(self.id, connection)
    }

    /// Changes with which eyes a subscriber listens.
    pub(crate) fn set_access(&self, connection: ConnectionId, access: Access) {
        self.state().subscriptions.set_access(connection, access);
    }

    /// Keeps the room's lock for as long as what is returned.
    #[cfg(test)]
    pub(crate) fn keep_busy(&self) -> impl Sized {
        self.state()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether an event is missing before one that came early.
    fn has_gap(&self) -> bool {
        let first = self.reorder_buffer.first_key_value();
        self.last.zip(first).is_some_and(|(last, (first, _))| *first > last.next())
    }

    fn is_full(&self) -> bool {
        self.undelivered.0 >= MAX_UNDELIVERED || self.undelivered.1 >= MAX_UNDELIVERED_BYTES
    }

    /// Puts the next event behind the others.
    fn put(&mut self, event: &Arc<Event>) {
        let encoded = EventBytes::encode(event);
        self.undelivered = (self.undelivered.0 + 1, self.undelivered.1 + encoded.frame.len());
        self.frames.push(encoded);
        self.last = Some(event.seq);
    }

    /// Puts what has become due from `reorder_buffer` behind the others, as far as there is room.
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

    /// Whether a shard must be told of this room.
    fn list(&mut self) -> bool {
        let due = self.last.is_some_and(|last| last > self.delivered_up_to);
        let list = due && !self.listed;
        self.listed = self.listed || list;
        list
    }

    fn serve(&mut self, room: RoomId, held: &mut Held, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut served = Served::default();
        let Some(last) = self.last.filter(|last| *last > self.delivered_up_to) else {
            self.listed = false;
            return served;
        };
        if self.pass.is_none() && self.subscriptions.pressed {
            if self.waits < MAX_WAITS && self.subscriptions.any_pressed() {
                self.waits += 1;
                served.left = Left::Cooldown(WAIT);
                return served;
            }
            (self.waits, self.subscriptions.pressed) = (0, false);
        }
        // Those at the pass's end get what came since its beginning too; all have at least what there was then.
        let pass = *self.pass.get_or_insert_with(|| Pass { up_to: last, began: Instant::now() });
        let most = subscriptions::at_once(self.undelivered.1);
        served.subscriptions = self.subscriptions.len().min(most);
        let mut service = Service {
            room,
            frames: &mut self.frames,
            last,
            held,
            batch,
            holds: self.subscriptions.are_few(),
            delivered: 0,
            pressed: false,
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

    /// Hands out all there is, for a room with one subscription. Whether something is missing.
    fn serve_all(&mut self, room: RoomId, #[cfg(test)] fault: Option<Fault>) -> bool {
        let mut held = Held::new();
        let mut gap = self.has_gap() && !self.backfilling;
        self.backfilling = self.backfilling || gap;
        while self.last.is_some_and(|last| last > self.delivered_up_to) {
            let served = self.serve(
                room,
                &mut held,
                &mut OneByOne,
                #[cfg(test)]
                fault,
            );
            gap = gap || served.gap;
        }
        held.iter().for_each(|write_queue| write_queue.uncork());
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
