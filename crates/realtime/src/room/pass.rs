//! Passes over the subscriptions of a room, each of which gives all of them the events that they lack.

use std::time::Duration;

use chatsphere_core::{RoomId, Seq};
use tokio::time::Instant;

#[cfg(test)]
use super::Fault;
use super::delivery::Delivery;
use super::subscriptions::{self, Corked};
use super::{LARGE, State};
use crate::batch::{Batch, OneByOne};

/// Bounds of the cooldown between two passes of a busy large room; within them it takes as long as the previous pass. Events
/// that arrive meanwhile share the next writes, and a write of ten events costs nearly the same as one.
const COOLDOWN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));
/// How often, and how long each time, a room postpones a pass for subscriptions over their high watermark: a burst arrives
/// faster than anybody reads it, and that alone does not make a client slow. After that the pass runs, and slow clients are
/// closed.
const MAX_POSTPONEMENTS: u32 = 10;
const POSTPONEMENT: Duration = Duration::from_millis(5);

/// A pass in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// Every subscription gets at least the events up to here.
    up_to: Seq,
    began: Instant,
}

/// The result of serving some subscriptions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) remaining: Remaining,
    /// Frames given to subscriptions, counted per subscription.
    pub(crate) delivered: u64,
    /// Number of subscriptions served.
    pub(crate) subscriptions: usize,
    /// Events must be read from the store: the caller must request a backfill.
    pub(crate) needs_backfill: bool,
    /// No work and no subscription remains: the hub removes the room unless it is joined.
    pub(crate) is_deserted: bool,
}

/// The remaining work of a room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Remaining {
    /// None: the shard takes the room off its run queue.
    #[default]
    Nothing,
    RestOfPass,
    /// A pass for newer events.
    NextPass,
    /// A pass after this cooldown.
    NextPassAfter(Duration),
}

impl State {
    /// Serves the next subscriptions in the pass, or the first ones in a new pass.
    pub(super) fn advance_pass(
        &mut self,
        room: RoomId,
        corked: &mut Corked,
        batch: &mut dyn Batch,
        #[cfg(test)] fault: Option<Fault>,
    ) -> Progress {
        let Some(newest) = self.ordered_up_to.filter(|newest| *newest > self.delivered_up_to) else {
            self.scheduled = false;
            return Progress::default();
        };
        if self.pass.is_none() && self.postpones_pass() {
            return Progress { remaining: Remaining::NextPassAfter(POSTPONEMENT), ..Progress::default() };
        }
        // Subscriptions late in the pass also get events that arrived since it began.
        let pass = *self.pass.get_or_insert_with(|| Pass { up_to: newest, began: Instant::now() });
        let count = subscriptions::max_per_lock(self.undelivered.bytes);
        let mut progress = Progress { subscriptions: self.subscriptions.len().min(count), ..Progress::default() };
        let mut delivery = Delivery {
            room,
            frames: &mut self.frames,
            up_to: newest,
            corked,
            batch,
            uses_cork: self.subscriptions.uses_cork(),
            delivered: 0,
            over_watermark: false,
            #[cfg(test)]
            keep_departed: fault == Some(Fault::KeepTheDeparted),
        };
        let ended = self.subscriptions.advance_pass(&mut delivery, count);
        progress.delivered = delivery.delivered;
        if ended {
            self.end_pass(pass, &mut progress);
        } else {
            progress.remaining = Remaining::RestOfPass;
        }
        progress
    }

    /// Whether the next pass waits for subscriptions over their high watermark.
    fn postpones_pass(&mut self) -> bool {
        if !self.subscriptions.over_watermark {
            return false;
        }
        if self.postponements < MAX_POSTPONEMENTS && self.subscriptions.any_over_watermark() {
            self.postponements += 1;
            return true;
        }
        (self.postponements, self.subscriptions.over_watermark) = (0, false);
        false
    }

    fn end_pass(&mut self, pass: Pass, progress: &mut Progress) {
        self.pass = None;
        let events = pass.up_to.get() - self.delivered_up_to.get();
        self.delivered_up_to = pass.up_to;
        self.frames.trim(pass.up_to);
        self.undelivered = self.frames.amount_after(pass.up_to);
        self.append_reordered();
        let more = self.ordered_up_to.is_some_and(|newest| newest > pass.up_to);
        if self.subscriptions.len() >= LARGE && (more || events > 1) {
            progress.remaining = Remaining::NextPassAfter(pass.began.elapsed().clamp(COOLDOWN.0, COOLDOWN.1));
        } else if more {
            progress.remaining = Remaining::NextPass;
        } else {
            self.scheduled = false;
        }
        if !more {
            let dropped = std::mem::take(&mut self.dropped);
            progress.needs_backfill = (dropped || self.has_gap()) && !self.backfilling;
            self.backfilling = self.backfilling || progress.needs_backfill;
        }
    }

    /// Delivers all events of a room with one subscription. Returns whether a backfill is needed.
    pub(super) fn deliver_all(&mut self, room: RoomId, #[cfg(test)] fault: Option<Fault>) -> bool {
        let mut corked = Corked::new();
        let mut needs_backfill = self.has_gap() && !self.backfilling;
        self.backfilling = self.backfilling || needs_backfill;
        while self.ordered_up_to.is_some_and(|newest| newest > self.delivered_up_to) {
            let progress = self.advance_pass(
                room,
                &mut corked,
                &mut OneByOne,
                #[cfg(test)]
                fault,
            );
            needs_backfill = needs_backfill || progress.needs_backfill;
        }
        corked.iter().for_each(|write_queue| write_queue.uncork());
        needs_backfill
    }
}
