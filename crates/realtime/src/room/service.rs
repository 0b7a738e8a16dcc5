use bytes::Bytes;
use chatsphere_core::{Access, RoomId, Seq};
use chatsphere_net::websocket::CloseCode;
use chatsphere_protocol::frames::ServerFrame;

use super::frames::Frames;
use super::seats::{Held, Seat};
use crate::batch::{Batch, LONG};
use crate::frame::encode;

/// What seats are brought up to, in a part of a round.
pub(super) struct Service<'a> {
    pub(super) room: RoomId,
    pub(super) frames: &'a mut Frames,
    /// Every seat that is served has everything up to here.
    pub(super) last: Seq,
    pub(super) held: &'a mut Held,
    /// By which frames that are not held go out.
    pub(super) batch: &'a mut dyn Batch,
    /// Whether frames are held until the lane has all that it has for a connection, or written with others of the batch.
    pub(super) holds: bool,
    /// Frames given to seats, each counted for each seat.
    pub(super) delivered: u64,
    /// Somebody had not taken what came before.
    pub(super) pressed: bool,
    #[cfg(test)]
    pub(super) keep_departed: bool,
}

impl Service<'_> {
    /// Brings a seat up to date. `false` if its membership ended on the way, and the seat with it.
    pub(super) fn serve(&mut self, seat: &mut Seat) -> bool {
        if seat.after >= self.last {
            return true;
        }
        let departure = self.departure(seat);
        let up_to = departure.unwrap_or(self.last);
        let Some(run) = self.frames.run(seat.after, up_to) else {
            // Frames are kept until everyone has them. Should that ever be wrong, nothing is skipped in silence.
            tracing::error!(room = %self.room, "frames of a room were missing");
            seat.listener.outbound.close(CloseCode::TRY_AGAIN_LATER, "join again with since");
            seat.after = self.last;
            return true;
        };
        // Of a shorter one nobody asks whether the one before has gone out.
        let long = run.len() > LONG;
        if long && seat.listener.outbound.is_too_long(&run) {
            // One frame by itself may be longer than the queue's bound. Several may not, though they are in one piece.
            self.frames.each(seat.after, up_to).into_iter().for_each(|frame| self.send(seat, frame));
        } else {
            self.send(seat, run);
        }
        self.pressed = self.pressed || (long && seat.listener.outbound.is_pressed());
        self.delivered += up_to.get() - seat.after.get();
        seat.after = up_to;
        if departure.is_none() {
            return true;
        }
        let left = encode(&ServerFrame::Left { room_id: self.room, reason: "removed".into() });
        left.into_iter().for_each(|left| self.send(seat, left));
        seat.listener.room_set().remove(self.room);
        false
    }

    fn departure(&self, seat: &Seat) -> Option<Seq> {
        match seat.access {
            #[cfg(test)]
            Access::Member(_) if self.keep_departed => None,
            Access::Member(user) => self.frames.departure(user, seat.after),
            Access::Any => None,
        }
    }

    fn send(&mut self, seat: &Seat, bytes: Bytes) {
        let outbound = &seat.listener.outbound;
        if !self.holds {
            self.batch.send(outbound, bytes);
        } else if outbound.hold(bytes) {
            self.held.push(outbound.clone());
        }
    }
}
