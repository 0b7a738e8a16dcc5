//! Who listens to a room, and up to where each of them has it.

use std::sync::Arc;

use bytes::Bytes;
use chatsphere_core::{Access, ConnectionId, RoomId, Seq, UserId};

use super::service::Service;
use crate::listener::Listener;
use crate::outbound::Outbound;

/// Seats served under one hold of the room's lock, at most, so that one large room holds up neither its joins nor its lane for long.
#[cfg(not(test))]
const AT_ONCE: usize = 128;
#[cfg(test)]
const AT_ONCE: usize = 2;
/// Bytes handed to them together, some tenths of a millisecond's work for the kernel; but to a few seats at least.
const BYTES_AT_ONCE: usize = 128 * 1024;
const FEW: usize = 16;
/// Up to so many seats, frames are held until the lane has all that it has for the connection. Beyond it, a room's own frames
/// are what there is, and each is written at once.
const HELD_UP_TO: usize = 64;
/// Seats that are fetched into the caches together.
const FETCHED: usize = 8;

/// How many seats are served under one hold of the lock, if so many bytes are due for each.
pub(super) fn at_once(due: usize) -> usize {
    (BYTES_AT_ONCE / due.max(1)).clamp(FEW.min(AT_ONCE), AT_ONCE)
}

/// A listener's place in a room.
#[derive(Debug)]
pub(super) struct Seat {
    id: ConnectionId,
    pub(super) listener: Arc<Listener>,
    /// With which eyes it listens: a member's end with the membership.
    pub(super) access: Access,
    /// It has every event up to here.
    pub(super) after: Seq,
}

/// The seats of a room, and the round under way that brings all of them up to date.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// A seat given up during a round stays as an empty place, so that the round misses nobody.
    places: Vec<Option<Seat>>,
    empty: usize,
    /// The place where the round goes on.
    next: usize,
    /// Somebody had not taken what came before when a round gave more.
    pub(super) pressed: bool,
}

/// Connections with held frames, which are to be released.
pub(crate) type Held = Vec<Arc<Outbound>>;

impl Seats {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.empty
    }

    /// Places, the empty ones among them.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Seats a listener that has everything up to `after`; if it has a seat, that one is given up.
    pub(super) fn sit(&mut self, room: RoomId, listener: &Arc<Listener>, access: Access, after: Seq) {
        if !listener.room_set().insert(room) {
            self.give_up(listener.id);
        }
        self.places.push(Some(Seat { id: listener.id, listener: listener.clone(), access, after }));
    }

    /// Sends something to a listener that has a seat. Answers whether it has one.
    pub(super) fn send(&self, connection: ConnectionId, frame: &Bytes) -> bool {
        let seat = self.places.iter().flatten().find(|seat| seat.id == connection);
        seat.map(|seat| seat.listener.outbound.send(frame.clone())).is_some()
    }

    /// Sends a frame that may be lost to the next seats from `place` on, but for those of one user, for as long as `goes_on`. Answers
    /// how many got it, and how many are behind with reading.
    pub(super) fn signal(
        &self,
        frame: &Bytes,
        except: Option<UserId>,
        place: &mut usize,
        goes_on: impl Fn() -> bool,
    ) -> (u64, u64) {
        let end = (*place + AT_ONCE).min(self.places.len());
        let (mut sent, mut dropped) = (0, 0);
        for seat in self.places.get(*place..end).unwrap_or_default().iter().flatten() {
            if !goes_on() {
                break;
            }
            if except.is_some_and(|user| seat.listener.caller().is(user)) {
                continue;
            }
            if seat.listener.outbound.send_if_current(frame.clone()) {
                sent += 1;
            } else {
                dropped += 1;
            }
        }
        *place = end;
        (sent, dropped)
    }

    /// Takes a listener's seat away.
    pub(super) fn unseat(&mut self, room: RoomId, connection: ConnectionId) -> bool {
        let seat = self.give_up(connection);
        seat.is_some_and(|seat| seat.listener.room_set().remove(room))
    }

    fn give_up(&mut self, connection: ConnectionId) -> Option<Seat> {
        let is_it = |seat: &Option<Seat>| seat.as_ref().is_some_and(|seat| seat.id == connection);
        let place = self.places.iter().position(is_it)?;
        let seat = if self.next == 0 {
            self.places.swap_remove(place)
        } else {
            self.empty += 1;
            self.places.get_mut(place)?.take()
        };
        if self.places.is_empty() {
            self.places = Vec::new();
        }
        seat
    }

    /// Whether somebody still has not taken what came before.
    pub(super) fn any_pressed(&self) -> bool {
        self.places.iter().flatten().any(|seat| seat.listener.outbound.is_pressed())
    }

    /// Changes with which eyes a listener listens.
    pub(super) fn set_access(&mut self, connection: ConnectionId, access: Access) {
        if let Some(seat) = self.places.iter_mut().flatten().find(|seat| seat.id == connection) {
            seat.access = access;
        }
    }

    /// Whether frames for these seats are held until the lane has all that it has for a connection.
    pub(super) fn are_few(&self) -> bool {
        self.len() <= HELD_UP_TO
    }

    /// Goes on with the round: serves the next seats, `most` of them. Answers whether that was the round's end.
    pub(super) fn serve(&mut self, service: &mut Service<'_>, most: usize) -> bool {
        let end = (self.next + most).min(self.places.len());
        for group in self.places.get_mut(self.next..end).unwrap_or_default().chunks_mut(FETCHED) {
            // Between two writes the kernel has used the caches for itself. Fetched together, they are waited for together.
            group.iter().flatten().for_each(|seat| seat.listener.outbound.fetch());
            for place in group {
                if place.as_mut().is_some_and(|seat| !service.serve(seat)) {
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
        for seat in self.places.iter_mut().flatten() {
            seat.listener.outbound.send(frame.clone());
            seat.after = seat.after.max(seq);
        }
    }
}
