//! The delivery of a room's frames to one subscription.

use bytes::Bytes;
use chatsphere_core::{Access, RoomId, Seq};
use chatsphere_protocol::close;
use chatsphere_protocol::frames::ServerFrame;

use super::frame_buffer::FrameBuffer;
use super::subscriptions::{Corked, Subscription};
use crate::batch::{Batch, MAX_BATCHED_LEN};
use crate::frame::encode;

/// What all subscriptions that are served under one hold of the room's lock share.
pub(super) struct Delivery<'a> {
    pub(super) room: RoomId,
    pub(super) frames: &'a mut FrameBuffer,
    /// The newest event: each subscription gets all events up to here.
    pub(super) up_to: Seq,
    pub(super) corked: &'a mut Corked,
    /// Writes the frames that are not corked.
    pub(super) batch: &'a mut dyn Batch,
    /// Whether frames are corked until the shard has finished its turn, instead of written with the batch.
    pub(super) uses_cork: bool,
    /// Frames given to subscriptions, counted per subscription.
    pub(super) delivered: u64,
    /// A write queue was over its high watermark.
    pub(super) over_watermark: bool,
    #[cfg(test)]
    pub(super) keep_departed: bool,
}

impl Delivery<'_> {
    /// Sends a subscription all events that it lacks. `false` if one of them ended its membership, which ends the subscription.
    pub(super) fn deliver(&mut self, subscription: &mut Subscription) -> bool {
        if subscription.delivered_up_to >= self.up_to {
            return true;
        }
        let departure = self.departure(subscription);
        let up_to = departure.unwrap_or(self.up_to);
        let Some(frames) = self.frames.concatenated(subscription.delivered_up_to, up_to) else {
            // Frames are kept until every subscription has them. If that is ever violated, the client must not miss an event
            // silently.
            tracing::error!(room = %self.room, "frames of a room were missing");
            subscription.subscriber.write_queue.close(close::TRY_AGAIN_LATER, "join again with since");
            subscription.delivered_up_to = self.up_to;
            return true;
        };
        // The watermark is checked only after long writes: shorter ones do not fill a queue.
        let is_long = frames.len() > MAX_BATCHED_LEN;
        if is_long && subscription.subscriber.write_queue.exceeds_bound(&frames) {
            // A single frame may exceed the bound of the queue, several together may not: send them one by one.
            self.frames
                .separate(subscription.delivered_up_to, up_to)
                .into_iter()
                .for_each(|frame| self.send(subscription, frame));
        } else {
            self.send(subscription, frames);
        }
        self.over_watermark = self.over_watermark || (is_long && subscription.subscriber.write_queue.over_high_watermark());
        self.delivered += up_to.get() - subscription.delivered_up_to.get();
        subscription.delivered_up_to = up_to;
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
            Access::Member(user) => self.frames.departure(user, subscription.delivered_up_to),
            Access::Any => None,
        }
    }

    fn send(&mut self, subscription: &Subscription, bytes: Bytes) {
        let write_queue = &subscription.subscriber.write_queue;
        if !self.uses_cork {
            self.batch.send(write_queue, bytes);
        } else if write_queue.cork(bytes) {
            self.corked.push(write_queue.clone());
        }
    }
}
