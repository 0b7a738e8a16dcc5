//! Reads from the store what the bus did not bring.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Access, RoomId};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::delivery_gate::DeliveryGate;
use crate::hub::Hub;
use crate::interest::Shard;
use crate::log::RoomLog;

/// How long a gap may close by itself: events of two nodes often overtake each other.
const PATIENCE: Duration = Duration::from_millis(5);
/// How often rooms compare themselves with the store. A lost last event leaves no gap, so only this finds it; the contract
/// allows 2 s.
const COMPARE_EVERY: Duration = Duration::from_millis(1_500);
/// Rooms compared in one read, and gaps closed after one wait.
const ROOMS: usize = 500;
/// Rooms read at a time.
const AT_ONCE: usize = 8;
/// Events read at a time.
const PAGE: usize = 256;

/// Closes gaps as they are seen, and beside that compares all rooms with the store now and then. Hands out nothing while `gate`
/// is shut. Runs for ever.
pub async fn run<L: RoomLog + ?Sized>(hub: Arc<Hub>, log: Arc<L>, gaps: mpsc::UnboundedReceiver<RoomId>, gate: DeliveryGate) {
    let reconciliation = Reconciliation { hub: &hub, log: &*log, gate: &gate };
    // Side by side: however many gaps there are, a lost last event is found in time.
    tokio::join!(reconciliation.catch_up(gaps), reconciliation.reconcile());
}

struct Reconciliation<'a, L: ?Sized> {
    hub: &'a Hub,
    log: &'a L,
    gate: &'a DeliveryGate,
}

impl<L: RoomLog + ?Sized> Reconciliation<'_, L> {
    async fn catch_up(&self, mut gaps: mpsc::UnboundedReceiver<RoomId>) {
        let mut rooms = Vec::new();
        while gaps.recv_many(&mut rooms, ROOMS).await > 0 {
            sleep(PATIENCE).await;
            self.backfill_all(std::mem::take(&mut rooms)).await;
        }
    }

    /// Compares every room that somebody listens to with the store, and backfills those that are behind. Those of shards that
    /// this node has just subscribed to are compared at once: what was told of them until then was not heard.
    async fn reconcile(&self) {
        let mut ticks = interval_at(Instant::now() + COMPARE_EVERY, COMPARE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let begun = tokio::select! {
                biased;
                _ = ticks.tick() => None,
                begun = self.hub.interest.begun() => Some(begun),
            };
            if !self.gate.is_open() {
                continue;
            }
            let mut rooms = self.hub.room_ids();
            if let Some(begun) = begun {
                rooms.retain(|room| begun.contains(&Shard::of_room(*room)));
            }
            for rooms in rooms.chunks(ROOMS) {
                let heads = match self.log.heads(rooms).await {
                    Ok(heads) => heads,
                    Err(error) => {
                        tracing::warn!(%error, "rooms could not be reconciled with the store");
                        break;
                    }
                };
                let behind = heads.into_iter().filter(|(id, head)| {
                    self.hub.room(*id).is_some_and(|room| room.last().is_some_and(|last| last < *head) && room.begin_backfill())
                });
                self.backfill_all(behind.map(|(id, _)| id).collect()).await;
            }
        }
    }

    async fn backfill_all(&self, rooms: Vec<RoomId>) {
        stream::iter(rooms).for_each_concurrent(AT_ONCE, |room| self.backfill(room)).await;
    }

    /// Brings a room up to the store. Its reconciliation was claimed before.
    async fn backfill(&self, id: RoomId) {
        let Some(room) = self.hub.room(id) else { return };
        // Released first: a gap that shows while this one is read is claimed anew.
        room.end_backfill();
        while let Some(last) = room.last() {
            match self.log.events_after(id, Access::Any, last, PAGE).await {
                // Asked after the read, which may have taken long. The comparison comes back to it.
                Ok(_) if !self.gate.is_open() => return,
                Ok(page) => {
                    let took_all = self.hub.accept(id, &page.events);
                    // A room with too much to hand out asks again when that is done.
                    if !took_all || page.events.last().is_none_or(|event| event.seq >= page.head) {
                        return;
                    }
                }
                // The comparison with the store comes back to it.
                Err(error) => return tracing::warn!(%error, "a gap in a room could not be read from the store yet"),
            }
        }
    }
}
