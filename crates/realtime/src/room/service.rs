use bytes::Bytes;
use chatsphere_core::{Access, RoomId, Seq};
use chatsphere_net::websocket::CloseCode;
use chatsphere_protocol::frames::ServerFrame;

use super::frames::Frames;
use super::subscriptions::{Held, Subscription};
use crate::batch::{Batch, LONG};
use crate::frame::encode;

/// What subscriptions are brought up to, in a part of a pass.
pub(super) struct Service<'a> {
    pub(super) room: RoomId,
    pub(super) frames: &'a mut Frames,
    /// Every subscription that is served has everything up to here.
    pub(super) last: Seq,
    pub(super) held: &'a mut Held,
    /// By which frames that are not held go out.
    pub(super) batch: &'a mut dyn Batch,
    /// Whether frames are held until the shard has all that it has for a connection, or written with others of the batch.
    pub(super) holds: bool,
    /// Frames given to subscriptions, each counted for each subscription.
    pub(super) delivered: u64,
    /// Somebody had not taken what came before.
    pub(super) pressed: bool,
    #[cfg(test)]
    pub(super) keep_departed: bool,
}

impl Service<'_> {
    /// Brings a subscription up to date. `false` if its membership ended on the way, and the subscription with it.
    pub(super) fn serve(&mut self, subscription: &mut Subscription) -> bool {
        if subscription.after >= self.last {
            return true;
        }
        let departure = self.departure(subscription);
        let up_to = departure.unwrap_or(self.last);
        let Some(run) = self.frames.run(subscription.after, up_to) else {
            // Frames are kept until everyone has them. Should that ever be wrong, nothing is skipped in silence.
            tracing::error!(room = %self.room, "frames of a room were missing");
            subscription.subscriber.write_queue.close(CloseCode::TRY_AGAIN_LATER, "join again with since");
            subscription.after = self.last;
            return true;
        };
        // Of a shorter one nobody asks whether the one before has gone out.
        let long = run.len() > LONG;
        if long && subscription.subscriber.write_queue.is_too_long(&run) {
            // One frame by itself may be longer than the queue's bound. Several may not, though they are in one piece.
            self.frames.each(subscription.after, up_to).into_iter().for_each(|frame| self.send(subscription, frame));
        } else {
            self.send(subscription, run);
        }
        self.pressed = self.pressed || (long && subscription.subscriber.write_queue.over_high_watermark());
        self.delivered += up_to.get() - subscription.after.get();
        subscription.after = up_to;
        if departure.is_none() {
            return true;
        }
        let left = encode(&ServerFrame::Left { room_id: self.room, reason: "removed".into() });
        left.into_iter().for_each(|left| self.send(subscription, left));
        subscription.subscriber.room_set().remove(self.room);
        false
    }

    fn departure(&self, subscription: &Subscription) -> Option<Seq> {
        match subscription.access {
            #[cfg(test)]
            Access::Member(_) if self.keep_departed => None,
            Access::Member(user) => self.frames.departure(user, subscription.after),
            Access::Any => None,
        }
    }

    fn send(&mut self, subscription: &Subscription, bytes: Bytes) {
        let write_queue = &subscription.subscriber.write_queue;
        if !self.holds {
            self.batch.send(write_queue, bytes);
        } else if write_queue.cork(bytes) {
            self.held.push(write_queue.clone());
        }
    }
}
