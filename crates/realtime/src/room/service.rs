//! The delivery of a room's frames to one subscription after another, within a part of a pass.

use bytes::Bytes;
use chatsphere_core::{Access, RoomId, Seq};
use chatsphere_protocol::close;
use chatsphere_protocol::frames::ServerFrame;

use super::frames::Frames;
use super::subscriptions::{Corked, Subscription};
use crate::batch::{Batch, LONG};
use crate::frame::encode;

/// The state of one part of a pass over the subscriptions.
pub(super) struct Service<'a> {
    pub(super) room: RoomId,
    pub(super) frames: &'a mut Frames,
    /// The event up to which each subscription is brought.
    pub(super) last: Seq,
    pub(super) corked: &'a mut Corked,
    /// Writes the frames that are not corked.
    pub(super) batch: &'a mut dyn Batch,
    /// Whether frames are corked until the shard has finished its turn, instead of written with the batch.
    pub(super) corks: bool,
    /// Frames given to subscriptions, counted per subscription.
    pub(super) delivered: u64,
    /// A write queue was over its high watermark.
    pub(super) over_watermark: bool,
    #[cfg(test)]
    pub(super) keep_departed: bool,
}

impl Service<'_> {
    /// Brings a subscription up to date. `false` if its membership ended on the way, which ends the subscription.
    pub(super) fn serve(&mut self, subscription: &mut Subscription) -> bool {
        if subscription.after >= self.last {
            return true;
        }
        let departure = self.departure(subscription);
        let up_to = departure.unwrap_or(self.last);
        let Some(run) = self.frames.run(subscription.after, up_to) else {
            // Frames are kept until every subscription has them. If that is ever violated, the client must not miss an event
            // silently.
            tracing::error!(room = %self.room, "frames of a room were missing");
            subscription.subscriber.write_queue.close(close::TRY_AGAIN_LATER, "join again with since");
            subscription.after = self.last;
            return true;
        };
        // The watermark is checked only after long runs: shorter ones do not fill a queue.
        let long = run.len() > LONG;
        if long && subscription.subscriber.write_queue.is_too_long(&run) {
            // A single frame may exceed the bound of the queue, several together may not: send them one by one.
            self.frames.each(subscription.after, up_to).into_iter().for_each(|frame| self.send(subscription, frame));
        } else {
            self.send(subscription, run);
        }
        self.over_watermark = self.over_watermark || (long && subscription.subscriber.write_queue.over_high_watermark());
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
        if !self.corks {
            self.batch.send(write_queue, bytes);
        } else if write_queue.cork(bytes) {
            self.corked.push(write_queue.clone());
        }
    }
}
