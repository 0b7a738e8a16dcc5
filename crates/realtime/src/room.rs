//! One room that somebody on this node listens to: puts what the bus brings into the order of `seq` and hands it out.
//!
//! The bus is a hint, the store is the truth: what comes twice is dropped, what comes early waits, and a gap is read from the
//! store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, Event, RoomId, Seq, UserId};
use chatsphere_protocol::frames::ServerFrame;

use crate::frame::{EventBytes, encode};
use crate::listener::{Listener, Seat};

/// Frames kept to close the last steps between a replay and the present without another read.
const RECENT: usize = 64;
/// The same in bytes, so that long messages in many rooms do not fill the memory.
const RECENT_BYTES: usize = 64 * 1024;
/// Events that may wait for an earlier one. More are dropped: the repair reads them from the store.
const MOST_EARLY: usize = 256;

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) id: RoomId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest event handed out; unknown until the first listener has read the room.
    last: Option<Seq>,
    recent: VecDeque<EventBytes>,
    recent_bytes: usize,
    /// Events that came before their turn.
    early: BTreeMap<Seq, Arc<Event>>,
    seats: Vec<Seat>,
    /// Joins under way that keep the room in the hub.
    pins: usize,
    /// The hub forgot this room; a join that still holds it must look it up again.
    forgotten: bool,
    /// A repair is on its way.
    repairing: bool,
}

/// What an attempt to take a seat came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seated {
    /// From now on the listener gets everything above its cursor.
    Yes,
    /// The room has moved on: read from the cursor on and try again.
    Behind,
    /// The room or the connection is gone.
    Gone,
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
        Self { id, state: Mutex::default() }
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
        state.forgotten = state.forgotten || (state.seats.is_empty() && state.pins == 0);
        state.forgotten
    }

    /// Takes in events in any order. Answers whether a gap is left that nobody repairs yet.
    pub(crate) fn accept(&self, events: &[Arc<Event>], #[cfg(test)] fault: Option<Fault>) -> bool {
        let mut state = self.state();
        let mut due: Vec<EventBytes> = Vec::new();
        for event in events {
            #[cfg(test)]
            if fault == Some(Fault::TrustTheBus) {
                state.last = state.last.map(|last| last.max(event.seq));
                due.extend(EventBytes::encode(event));
                continue;
            }
            match state.last {
                Some(last) if event.seq <= last => {}
                Some(last) if event.seq == last.next() => {
                    state.last = Some(event.seq);
                    due.extend(EventBytes::encode(event));
                    state.take_early(&mut due);
                }
                _ => state.keep_early(event),
            }
        }
        state.hand_out(
            self.id,
            &due,
            #[cfg(test)]
            fault,
        );
        let gap = state.last.is_some() && !state.early.is_empty() && !state.repairing;
        state.repairing = state.repairing || gap;
        gap
    }

    /// The newest event handed out, if a repair is wanted: `None` while nobody listens.
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
        let seat = Seat { listener: listener.clone(), access, after: cursor };
        #[cfg(test)]
        if fault == Some(Fault::SeatWithoutLooking) {
            state.last.get_or_insert(cursor);
            state.sit(self.id, seat);
            return Seated::Yes;
        }
        let Some(last) = state.last else {
            // The first listener brings the truth with it. What the bus brought meanwhile waited in `early`.
            state.last = Some(cursor);
            state.sit(self.id, seat);
            state.early.retain(|seq, _| *seq > cursor);
            let mut due = Vec::new();
            state.take_early(&mut due);
            state.hand_out(
                self.id,
                &due,
                #[cfg(test)]
                fault,
            );
            return Seated::Yes;
        };
        if cursor < last {
            let missed: Vec<&EventBytes> = state.recent.iter().filter(|event| event.seq > cursor).collect();
            let bytes: usize = missed.iter().map(|event| event.frame.len()).sum();
            let whole = missed.first().is_some_and(|first| first.seq == cursor.next());
            if !whole || bytes > most_bytes {
                return Seated::Behind;
            }
            if let Access::Member(user) = access
                && missed.iter().any(|event| event.departed == Some(user))
            {
                // The store tells whether it has come back since.
                return Seated::Behind;
            }
            let frames: Vec<Bytes> = missed.iter().map(|event| event.frame.clone()).collect();
            listener.outbound.send_all(&frames);
        }
        state.sit(self.id, seat);
        Seated::Yes
    }

    /// Takes a listener's seat away.
    pub(crate) fn unseat(&self, connection: ConnectionId) -> bool {
        let mut state = self.state();
        match state.seats.iter().position(|seat| seat.listener.id == connection) {
            Some(place) => {
                let seat = state.seats.swap_remove(place);
                seat.listener.room_set().remove(&self.id);
                true
            }
            None => false,
        }
    }

    /// Changes with which eyes a listener listens.
    pub(crate) fn set_access(&self, connection: ConnectionId, access: Access) {
        if let Some(seat) = self.state().seats.iter_mut().find(|seat| seat.listener.id == connection) {
            seat.access = access;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep_early(&mut self, event: &Arc<Event>) {
        if self.early.len() < MOST_EARLY {
            self.early.insert(event.seq, event.clone());
        }
    }

    /// Moves what has become due from `early` to `due`.
    fn take_early(&mut self, due: &mut Vec<EventBytes>) {
        while let Some(last) = self.last {
            match self.early.first_entry() {
                Some(first) if *first.key() <= last => {
                    first.remove();
                }
                Some(first) if *first.key() == last.next() => {
                    due.extend(EventBytes::encode(&first.remove()));
                    self.last = Some(last.next());
                }
                _ => return,
            }
        }
    }

    fn sit(&mut self, room: RoomId, seat: Seat) {
        seat.listener.room_set().insert(room);
        self.seats.retain(|other| other.listener.id != seat.listener.id);
        self.seats.push(seat);
    }

    /// Sends events that follow one another to every seat, then empties the seats of those who departed.
    fn hand_out(&mut self, room: RoomId, due: &[EventBytes], #[cfg(test)] fault: Option<Fault>) {
        if due.is_empty() {
            return;
        }
        let mut rest = due;
        while let Some(departure) = rest.iter().position(|event| event.departed.is_some()) {
            self.send_to_seats(&rest[..=departure]);
            if let Some(user) = rest[departure].departed {
                #[cfg(test)]
                let user = if fault == Some(Fault::KeepTheDeparted) { UserId::from_bytes([0; 16]) } else { user };
                self.unseat_departed(room, user, rest[departure].seq);
            }
            rest = &rest[departure + 1..];
        }
        self.send_to_seats(rest);
        for event in due {
            self.recent_bytes += event.frame.len();
            self.recent.push_back(event.clone());
            while self.recent.len() > RECENT || self.recent_bytes > RECENT_BYTES {
                let Some(oldest) = self.recent.pop_front() else { break };
                self.recent_bytes -= oldest.frame.len();
            }
        }
    }

    fn send_to_seats(&self, due: &[EventBytes]) {
        let (Some(first), frames) = (due.first(), due.iter().map(|event| event.frame.clone()).collect::<Vec<_>>()) else {
            return;
        };
        for seat in &self.seats {
            if seat.after < first.seq {
                seat.listener.outbound.send_all(&frames);
            } else {
                let skip = due.partition_point(|event| event.seq <= seat.after);
                seat.listener.outbound.send_all(&frames[skip..]);
            }
        }
        metrics::counter!("chatsphere_events_out_total").increment(frames.len() as u64 * self.seats.len() as u64);
    }

    fn unseat_departed(&mut self, room: RoomId, user: UserId, at: Seq) {
        let Some(left) = encode(&ServerFrame::Left { room_id: room, reason: "removed".into() }) else { return };
        self.seats.retain(|seat| {
            // A seat beyond this event was taken after it, by one who has come back.
            if seat.access != Access::Member(user) || seat.after >= at {
                return true;
            }
            seat.listener.room_set().remove(&room);
            seat.listener.outbound.send(left.clone());
            false
        });
    }
}
