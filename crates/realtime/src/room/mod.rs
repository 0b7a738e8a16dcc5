//! A room with subscriptions on this node: orders events by `seq` and delivers them.
//!
//! The bus may lose, repeat and reorder events. The room drops duplicates, keeps early events in a reorder buffer, and requests
//! a backfill from the store for a gap.
//!
//! Delivery runs in passes over the subscriptions, some of them at a time ([`Room::advance_pass`]). Each subscription records
//! up to where it has the events, so a pass sends it all newer events in one write: the busier the room, the more frames per
//! write.

mod delivery;
mod frame_buffer;
mod pass;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chatsphere_core::signal::Except;
use chatsphere_core::{Access, ConnectionId, Event, RoomId, Seq};

use self::frame_buffer::{Amount, FrameBuffer};
use self::pass::Pass;
pub(crate) use self::pass::{Progress, Remaining};
pub(crate) use self::subscriptions::Corked;
use self::subscriptions::Subscriptions;
use crate::batch::Batch;
use crate::frame::EncodedEvent;
use crate::subscriber::Subscriber;

/// Maximum number of early events. Further ones are dropped; a backfill reads them from the store.
const MAX_REORDERED: usize = 256;
/// From this many subscriptions on, a room is large: a shard of large rooms serves it, with a cooldown between two passes.
#[cfg(not(test))]
const LARGE: usize = 256;
#[cfg(test)]
pub(crate) const LARGE: usize = 6;
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
    newest_departure: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// All events up to here have arrived; `None` until the first subscriber has read the room.
    ordered_up_to: Option<Seq>,
    /// Every subscription has all events up to here.
    delivered_up_to: Seq,
    /// The current pass.
    pass: Option<Pass>,
    /// The undelivered events, and some before them.
    frames: FrameBuffer,
    /// The undelivered events in `frames`.
    undelivered: Amount,
    /// The newest event that deleted a message: frames of earlier events may show its content.
    newest_deletion: Option<Seq>,
    /// Events that arrived early.
    reorder_buffer: BTreeMap<Seq, Arc<Event>>,
    subscriptions: Subscriptions,
    /// How often the next pass was postponed.
    postponements: u32,
    /// A shard has the room in its run queue.
    scheduled: bool,
    /// Events were dropped because too many were undelivered.
    dropped: bool,
    /// Joins in progress, which keep the room in the hub.
    pins: usize,
    /// The hub removes this room; a join that still holds it must look it up again.
    removed: bool,
    /// A backfill is in progress.
    backfilling: bool,
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
    pub(crate) needs_backfill: bool,
    /// There are undelivered events, and the room is in no run queue: the caller must schedule it.
    pub(crate) needs_scheduling: bool,
    /// The limit of undelivered events was reached, and some were dropped.
    pub(crate) full: bool,
}

/// A signal to subscriptions of a room.
pub(crate) struct RoomSignal<'a> {
    pub(crate) frame: Bytes,
    /// The connections that do not get it.
    pub(crate) except: Except,
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
        let is_excepted = match self.except {
            Except::Nobody => false,
            Except::User(user) => subscriber.caller().is(user),
            Except::Connection(connection) => subscriber.id == connection,
        };
        self.to.is_none_or(|to| subscriber.id == to) && !is_excepted
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
        Self { id, large: AtomicBool::new(false), newest_departure: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Whether a shard of large rooms serves this room.
    pub(crate) fn is_large(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Keeps the room in the hub for a join; `false` if the hub has removed it.
    pub(crate) fn pin(&self) -> bool {
        let mut state = self.state();
        if state.removed {
            return false;
        }
        state.pins += 1;
        true
    }

    pub(crate) fn unpin(&self) {
        self.state().pins -= 1;
    }

    /// Marks the room as removed if it has no subscriptions and no pins. Returns whether it is.
    pub(crate) fn mark_removed_if_unused(&self) -> bool {
        let mut state = self.state();
        state.removed = state.removed || (state.subscriptions.len() == 0 && state.pins == 0);
        state.removed
    }

    /// Accepts events in any order.
    pub(crate) fn accept(&self, events: &[Arc<Event>], #[cfg(test)] fault: Option<Fault>) -> Accepted {
        let mut state = self.state();
        let mut full = false;
        for event in events {
            #[cfg(test)]
            if fault == Some(Fault::TrustTheBus) {
                state.deliver_unordered(event);
                continue;
            }
            match state.ordered_up_to {
                Some(ordered) if event.seq <= ordered => {}
                Some(ordered) if event.seq == ordered.next() => {
                    if state.is_full() {
                        full = true;
                        break;
                    }
                    state.append(event);
                    state.append_reordered();
                }
                _ => state.buffer_early(event),
            }
        }
        state.dropped = state.dropped || full;
        // After drops, the backfill is requested once the undelivered events are out.
        let needs_backfill = state.has_gap() && !state.backfilling && !state.dropped;
        state.backfilling = state.backfilling || needs_backfill;
        Accepted { needs_backfill, needs_scheduling: state.schedule(), full }
    }

    /// Serves the next subscriptions in the pass. Only one shard may call it.
    pub(crate) fn advance_pass(
        &self,
        corked: &mut Corked,
        batch: &mut dyn Batch,
        #[cfg(test)] fault: Option<Fault>,
    ) -> Progress {
        let mut state = self.state();
        self.large.store(state.subscriptions.len() >= LARGE, Ordering::Relaxed);
        let progress = state.advance_pass(
            self.id,
            corked,
            batch,
            #[cfg(test)]
            fault,
        );
        let is_deserted = progress.remaining == Remaining::Nothing && state.subscriptions.len() == 0;
        Progress { is_deserted, ..progress }
    }

    /// All events up to here have arrived; `None` until the first subscriber has read the room.
    pub(crate) fn ordered_up_to(&self) -> Option<Seq> {
        self.state().ordered_up_to
    }

    /// Whether the room lacks an event up to `up_to` and can accept it. After drops it cannot: a backfill follows the delivery
    /// of the undelivered events.
    pub(crate) fn lacks(&self, up_to: Seq) -> bool {
        let state = self.state();
        !state.dropped && state.ordered_up_to.is_some_and(|ordered| ordered < up_to)
    }

    /// Claims the backfill of this room; `false` if one is in progress.
    pub(crate) fn claim_backfill(&self) -> bool {
        !std::mem::replace(&mut self.state().backfilling, true)
    }

    pub(crate) fn release_backfill(&self) {
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
        if state.removed || subscriber.is_gone() || subscriber.write_queue.is_ended() {
            return Subscribed::Gone;
        }
        let Some(ordered) = state.ordered_up_to else {
            // The first subscriber sets the position of the room. Events from the bus waited in `reorder_buffer`.
            state.ordered_up_to = Some(cursor);
            state.delivered_up_to = cursor;
            state.subscriptions.subscribe(self.id, subscriber, access, cursor);
            state.reorder_buffer.retain(|seq, _| *seq > cursor);
            state.append_reordered();
            let gap = state.deliver_all(
                self.id,
                #[cfg(test)]
                fault,
            );
            return Subscribed::Yes { gap };
        };
        #[cfg(test)]
        let ordered = if fault == Some(Fault::SubscribeWithoutCheck) { cursor } else { ordered };
        if cursor < ordered {
            // The store shows what was deleted meanwhile as deleted; the frames in memory do not.
            if state.newest_deletion.is_some_and(|deletion| deletion > cursor) {
                return Subscribed::Behind;
            }
            let Some(missed) = state.frames.concatenated(cursor, ordered).filter(|missed| missed.len() <= max_bytes) else {
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
        let ordered = state.ordered_up_to.unwrap_or(ordered);
        state.subscriptions.subscribe(self.id, subscriber, access, cursor.max(ordered));
        self.large.store(state.subscriptions.len() >= LARGE, Ordering::Relaxed);
        Subscribed::Yes { gap: false }
    }

    /// Sends a frame to a subscriber if it is subscribed, in any order with the room's events but before the `left` that ends
    /// the subscription. Returns whether it is subscribed.
    pub(crate) fn send_to_subscription(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        self.state().subscriptions.send(connection, frame)
    }

    /// Sends a signal to the next subscriptions before `slot`. Nothing is sent before every subscription has all events that
    /// precede the signal, and the newest departure, so former members never get it.
    pub(crate) fn signal(&self, signal: &RoomSignal<'_>, slot: &mut usize) -> Signalled {
        let state = self.state();
        let delivered_up_to = state.delivered_up_to;
        let newest_departure = || Seq::new(self.newest_departure.load(Ordering::Acquire));
        let is_behind = || state.subscriptions.len() > 0 && delivered_up_to < signal.after.max(newest_departure());
        if is_behind() {
            return Signalled::Behind;
        }
        let (sent, dropped) =
            state.subscriptions.signal(signal, slot, || newest_departure() <= delivered_up_to && !signal.is_ended());
        if is_behind() {
            // A membership ended on the way, and the subscriptions after that have not got the signal.
            return Signalled::Behind;
        }
        Signalled::Sent { sent, dropped, more: *slot > 0 }
    }

    /// Records that a commit ended a membership: signals wait until its subscriptions are gone.
    pub(crate) fn record_departure(&self, seq: Seq) {
        self.newest_departure.fetch_max(seq.get(), Ordering::AcqRel);
    }

    /// The number of subscriptions.
    pub(crate) fn subscribers(&self) -> usize {
        self.state().subscriptions.len()
    }

    /// Sends a subscriber a final frame and unsubscribes it.
    pub(crate) fn evict(&self, connection: ConnectionId, final_frame: &Bytes) -> bool {
        let mut state = self.state();
        state.subscriptions.send(connection, final_frame) && state.subscriptions.unsubscribe(self.id, connection)
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
    pub(crate) fn hold_lock(&self) -> impl Sized {
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
        self.ordered_up_to.zip(first).is_some_and(|(ordered, (first, _))| *first > ordered.next())
    }

    fn is_full(&self) -> bool {
        self.undelivered.events >= MAX_UNDELIVERED || self.undelivered.bytes >= MAX_UNDELIVERED_BYTES
    }

    /// Appends the next event in order.
    fn append(&mut self, event: &Arc<Event>) {
        let encoded = EncodedEvent::encode(self.as_deleted(event).as_ref().unwrap_or(event));
        self.undelivered.events += 1;
        self.undelivered.bytes += encoded.frame.len();
        self.frames.push(encoded);
        self.ordered_up_to = Some(event.seq);
        if event.deleted_message().is_some() {
            self.newest_deletion = Some(event.seq);
        }
    }

    /// Appends events that are next in order from the reorder buffer, up to the limit of undelivered events.
    fn append_reordered(&mut self) {
        while let Some(ordered) = self.ordered_up_to {
            let full = self.is_full();
            match self.reorder_buffer.first_entry() {
                Some(first) if *first.key() <= ordered => {
                    first.remove();
                }
                Some(first) if *first.key() == ordered.next() && !full => {
                    let event = first.remove();
                    self.append(&event);
                }
                _ => return,
            }
        }
    }

    /// Returns the event with the tombstone of its message, if a later event that arrived early deletes that message.
    fn as_deleted(&self, event: &Event) -> Option<Event> {
        let id = event.shown_message()?.id;
        let deletion = self.reorder_buffer.values().find(|early| early.deleted_message().is_some_and(|key| key.id == id))?;
        let mut event = event.clone();
        event.show(deletion.shown_message()?.clone());
        Some(event)
    }

    fn buffer_early(&mut self, event: &Arc<Event>) {
        if self.reorder_buffer.len() < MAX_REORDERED {
            self.reorder_buffer.insert(event.seq, event.clone());
        }
    }

    /// Marks the room as scheduled if it has undelivered events. Returns whether the caller must schedule it.
    fn schedule(&mut self) -> bool {
        let has_undelivered = self.ordered_up_to.is_some_and(|ordered| ordered > self.delivered_up_to);
        let needs_scheduling = has_undelivered && !self.scheduled;
        self.scheduled = self.scheduled || needs_scheduling;
        needs_scheduling
    }

    /// Delivers an event in the order of arrival (the fault `TrustTheBus`).
    #[cfg(test)]
    fn deliver_unordered(&mut self, event: &Arc<Event>) {
        self.subscriptions.send_unordered(event.seq, &EncodedEvent::encode(event).frame);
        let newest = self.ordered_up_to.map(|ordered| ordered.max(event.seq));
        self.ordered_up_to = newest;
        self.delivered_up_to = newest.unwrap_or(self.delivered_up_to);
        self.frames = FrameBuffer::default();
    }
}
