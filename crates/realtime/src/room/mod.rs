//! One room that somebody on this node listens to: puts what the bus brings into the order of `seq` and hands it out.
//!
//! The bus is a hint, the store is the truth: what comes twice is dropped, what comes early waits, and a gap is read from the
//! store.
//!
//! Handing out goes in rounds over the seats, some seats at a time ([`Room::serve`]). Each seat knows up to where it has the
//! room, so a round gives it all that has come since, in one write: the busier a room, the more frames a write carries.

mod frames;
mod seats;
mod service;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, Event, RoomId, Seq, UserId};
use tokio::time::Instant;

use self::frames::Frames;
pub(crate) use self::seats::Held;
use self::seats::Seats;
use self::service::Service;
use crate::batch::{Batch, OneByOne};
use crate::frame::EventBytes;
use crate::listener::Listener;

/// Events that may wait for an earlier one. More are dropped: the repair reads them from the store.
const MOST_EARLY: usize = 256;
/// From so many seats on, a room is a crowd. A busy crowd rests between two rounds for as long as the one before took, within these bounds. What
/// comes meanwhile goes out in the same writes, and a write costs nearly the same with one event or ten.
#[cfg(not(test))]
const CROWD: usize = 256;
#[cfg(test)]
pub(crate) const CROWD: usize = 6;
const REST: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));
/// A room waits so often, and each time so long, for those who have not taken what the round before gave them: a burst comes
/// faster than anyone reads, and that alone makes nobody slow. After that it goes on, and whoever is slow is closed.
const MOST_WAITS: u32 = 10;
const WAIT: Duration = Duration::from_millis(5);
/// Events that may wait to be handed out, and their bytes. More are dropped, and read from the store when these are out.
const MOST_DUE: usize = 1_024;
const MOST_DUE_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    /// Whether it has many listeners. Beside the lock, which the lane of such a room holds for most of the time.
    crowded: AtomicBool,
    /// The newest event that ended a membership, as soon as this node knows of its commit. Beside the lock, since those who commit never
    /// wait for it.
    departing: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest event that was put in order; unknown until the first listener has read the room.
    last: Option<Seq>,
    /// Every seat has everything up to here.
    handed: Seq,
    /// The round under way.
    round: Option<Round>,
    frames: Frames,
    /// What of them not every seat has: how many, and their bytes.
    due: (usize, usize),
    /// Events that came before their turn.
    early: BTreeMap<Seq, Arc<Event>>,
    seats: Seats,
    /// How often the next round was put off.
    waits: u32,
    /// A lane has this room on its list.
    listed: bool,
    /// Events were dropped since too many waited.
    dropped: bool,
    /// Joins under way that keep the room in the hub.
    pins: usize,
    /// The hub forgot this room; a join that still holds it must look it up again.
    forgotten: bool,
    /// A repair is on its way.
    repairing: bool,
}

/// A round over the seats.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// Up to where it brings all of them.
    up_to: Seq,
    began: Instant,
}

/// What an attempt to take a seat came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seated {
    /// From now on the listener gets everything above its cursor. With `gap`, something is missing that the caller is to ask for.
    Yes { gap: bool },
    /// The room has moved on: read from the cursor on and try again.
    Behind,
    /// The room or the connection is gone.
    Gone,
}

/// What came of events that were taken in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// A gap is left that nobody repairs yet: the caller is to ask for it.
    pub(crate) gap: bool,
    /// There is something to hand out, and no lane knows of it: the caller is to list the room.
    pub(crate) list: bool,
    /// Too much waits; some events were dropped.
    pub(crate) full: bool,
}

/// How far handing out has come.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// What is left to do.
    pub(crate) left: Left,
    /// Frames given to seats, each counted for each seat.
    pub(crate) delivered: u64,
    /// How many seats were looked at.
    pub(crate) seats: usize,
    /// Events that were dropped are to be read from the store.
    pub(crate) gap: bool,
}

/// What is left to hand out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: the lane is to take the room off its list.
    #[default]
    Nothing,
    /// The rest of a round.
    Round,
    /// Another round: more came during this one.
    Another,
    /// Another round, but not before so much time has passed.
    Rest(Duration),
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// Not every seat has yet what came before it: it is to be tried again, or dropped.
    Behind,
    /// So many seats got it, and so many are too slow for it. With `more`, there are others.
    Sent { sent: u64, dropped: u64, more: bool },
}

/// Faults that the simulation plants to see that it finds them.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Hands events out in the order of the bus.
    TrustTheBus,
    /// Takes a seat without comparing the cursor with the room.
    SeatWithoutLooking,
    /// Goes on sending to a former member.
    KeepTheDeparted,
}

impl Room {
    pub(crate) fn new(id: RoomId) -> Self {
        Self { id, crowded: AtomicBool::new(false), departing: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Whether it has so many listeners that a lane of crowds is to serve it.
    pub(crate) fn is_crowd(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
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
        state.forgotten = state.forgotten || (state.seats.len() == 0 && state.pins == 0);
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
                    state.put_early();
                }
                _ => state.keep_early(event),
            }
        }
        state.dropped = state.dropped || full;
        // While too much waits, what is missing is asked for when that is handed out.
        let gap = state.has_gap() && !state.repairing && !state.dropped;
        state.repairing = state.repairing || gap;
        Accepted { gap, list: state.list(), full }
    }

    /// Goes on handing out: to some seats, that the caller may do other things in between. To be called by one lane alone.
    pub(crate) fn serve(&self, held: &mut Held, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut state = self.state();
        self.crowded.store(state.seats.len() >= CROWD, Ordering::Relaxed);
        state.serve(
            self.id,
            held,
            batch,
            #[cfg(test)]
            fault,
        )
    }

    /// The newest event that was put in order, if a repair is wanted: `None` while nobody listens.
    pub(crate) fn last(&self) -> Option<Seq> {
        self.state().last
    }

    /// Claims the repair of this room; `false` if one is under way.
    pub(crate) fn begin_repair(&self) -> bool {
        !std::mem::replace(&mut self.state().repairing, true)
    }

    pub(crate) fn end_repair(&self) {
        self.state().repairing = false;
    }

    /// Seats a listener that has read everything up to `cursor`, from the store, in a snapshot that saw it as a member if
    /// `access` asks for that.
    pub(crate) fn seat(
        &self,
        listener: &Arc<Listener>,
        access: Access,
        cursor: Seq,
        most_bytes: usize,
        #[cfg(test)] fault: Option<Fault>,
    ) -> Seated {
        let mut state = self.state();
        if state.forgotten || listener.is_gone() || listener.outbound.is_ended() {
            return Seated::Gone;
        }
        let Some(last) = state.last else {
            // The first listener brings the truth with it. What the bus brought meanwhile waited in `early`.
            state.last = Some(cursor);
            state.handed = cursor;
            state.seats.sit(self.id, listener, access, cursor);
            state.early.retain(|seq, _| *seq > cursor);
            state.put_early();
            let gap = state.serve_all(
                self.id,
                #[cfg(test)]
                fault,
            );
            return Seated::Yes { gap };
        };
        #[cfg(test)]
        let last = if fault == Some(Fault::SeatWithoutLooking) { cursor } else { last };
        if cursor < last {
            let Some(missed) = state.frames.run(cursor, last).filter(|missed| missed.len() <= most_bytes) else {
                return Seated::Behind;
            };
            if let Access::Member(user) = access
                && state.frames.departure(user, cursor).is_some()
            {
                // The store tells whether it has come back since.
                return Seated::Behind;
            }
            listener.outbound.send(missed);
        }
        #[cfg(test)]
        let last = state.last.unwrap_or(last);
        state.seats.sit(self.id, listener, access, cursor.max(last));
        self.crowded.store(state.seats.len() >= CROWD, Ordering::Relaxed);
        Seated::Yes { gap: false }
    }

    /// Sends something to a listener that has a seat, before or after anything that the seat brings, and surely before the `left`
    /// that ends it. Answers whether it has one.
    pub(crate) fn send_to_seat(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        self.state().seats.send(connection, frame)
    }

    /// Sends a signal to some seats, from `place` on, but to none of `except`. `after`: what every seat must have before. So a seat whose
    /// membership has ended is gone by then, or nobody gets it.
    pub(crate) fn signal(&self, frame: &Bytes, except: Option<UserId>, after: Seq, place: &mut usize) -> Signalled {
        let state = self.state();
        let (handed, departing) = (state.handed, || Seq::new(self.departing.load(Ordering::Acquire)));
        if state.seats.len() > 0 && handed < after.max(departing()) {
            return Signalled::Behind;
        }
        let (sent, dropped) = state.seats.signal(frame, except, place, || departing() <= handed);
        Signalled::Sent { sent, dropped, more: *place < state.seats.places() }
    }

    /// A commit has ended a membership: signals wait until its seats are gone.
    pub(crate) fn departs(&self, seq: Seq) {
        self.departing.fetch_max(seq.get(), Ordering::AcqRel);
    }

    /// How many listen.
    pub(crate) fn listeners(&self) -> usize {
        self.state().seats.len()
    }

    /// Takes a listener's seat away and sends it a last frame.
    pub(crate) fn dismiss(&self, connection: ConnectionId, last: &Bytes) -> bool {
        let mut state = self.state();
        state.seats.send(connection, last) && state.seats.unseat(self.id, connection)
    }

    /// Takes a listener's seat away.
    pub(crate) fn unseat(&self, connection: ConnectionId) -> bool {
        self.state().seats.unseat(self.id, connection)
    }

    /// Changes with which eyes a listener listens.
    pub(crate) fn set_access(&self, connection: ConnectionId, access: Access) {
        self.state().seats.set_access(connection, access);
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
        let first = self.early.first_key_value();
        self.last.zip(first).is_some_and(|(last, (first, _))| *first > last.next())
    }

    fn is_full(&self) -> bool {
        self.due.0 >= MOST_DUE || self.due.1 >= MOST_DUE_BYTES
    }

    /// Puts the next event behind the others.
    fn put(&mut self, event: &Arc<Event>) {
        let encoded = EventBytes::encode(event);
        self.due = (self.due.0 + 1, self.due.1 + encoded.frame.len());
        self.frames.push(encoded);
        self.last = Some(event.seq);
    }

    /// Puts what has become due from `early` behind the others, as far as there is room.
    fn put_early(&mut self) {
        while let Some(last) = self.last {
            let full = self.is_full();
            match self.early.first_entry() {
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

    fn keep_early(&mut self, event: &Arc<Event>) {
        if self.early.len() < MOST_EARLY {
            self.early.insert(event.seq, event.clone());
        }
    }

    /// Whether a lane must be told of this room.
    fn list(&mut self) -> bool {
        let due = self.last.is_some_and(|last| last > self.handed);
        let list = due && !self.listed;
        self.listed = self.listed || list;
        list
    }

    fn serve(&mut self, room: RoomId, held: &mut Held, batch: &mut dyn Batch, #[cfg(test)] fault: Option<Fault>) -> Served {
        let mut served = Served::default();
        let Some(last) = self.last.filter(|last| *last > self.handed) else {
            self.listed = false;
            return served;
        };
        if self.round.is_none() && self.seats.pressed {
            if self.waits < MOST_WAITS && self.seats.any_pressed() {
                self.waits += 1;
                served.left = Left::Rest(WAIT);
                return served;
            }
            (self.waits, self.seats.pressed) = (0, false);
        }
        // Those at the round's end get what came since its beginning too; all have at least what there was then.
        let round = *self.round.get_or_insert_with(|| Round { up_to: last, began: Instant::now() });
        let most = seats::at_once(self.due.1);
        served.seats = self.seats.len().min(most);
        let mut service = Service {
            room,
            frames: &mut self.frames,
            last,
            held,
            batch,
            holds: self.seats.are_few(),
            delivered: 0,
            pressed: false,
            #[cfg(test)]
            keep_departed: fault == Some(Fault::KeepTheDeparted),
        };
        let ended = self.seats.serve(&mut service, most);
        served.delivered = service.delivered;
        if !ended {
            served.left = Left::Round;
            return served;
        }
        self.round = None;
        let frames = round.up_to.get() - self.handed.get();
        self.handed = round.up_to;
        self.frames.trim(round.up_to);
        self.due = self.frames.above(round.up_to);
        self.put_early();
        let more = self.last.is_some_and(|last| last > round.up_to);
        if self.seats.len() >= CROWD && (more || frames > 1) {
            served.left = Left::Rest(round.began.elapsed().clamp(REST.0, REST.1));
        } else if more {
            served.left = Left::Another;
        } else {
            self.listed = false;
        }
        if !more {
            let dropped = std::mem::take(&mut self.dropped);
            served.gap = (dropped || self.has_gap()) && !self.repairing;
            self.repairing = self.repairing || served.gap;
        }
        served
    }

    /// Hands out all there is, for a room with one seat. Whether something is missing.
    fn serve_all(&mut self, room: RoomId, #[cfg(test)] fault: Option<Fault>) -> bool {
        let mut held = Held::new();
        let mut gap = self.has_gap() && !self.repairing;
        self.repairing = self.repairing || gap;
        while self.last.is_some_and(|last| last > self.handed) {
            let served = self.serve(
                room,
                &mut held,
                &mut OneByOne,
                #[cfg(test)]
                fault,
            );
            gap = gap || served.gap;
        }
        held.iter().for_each(|outbound| outbound.release());
        gap
    }

    #[cfg(test)]
    fn trust(&mut self, event: &Arc<Event>) {
        self.seats.trust(event.seq, &EventBytes::encode(event).frame);
        let last = self.last.map(|last| last.max(event.seq));
        self.last = last;
        self.handed = last.unwrap_or(self.handed);
        self.frames = Frames::default();
    }
}
