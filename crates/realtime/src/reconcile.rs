//! Reconciles rooms with the store: backfills events that the bus did not deliver.

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
/// How often rooms are compared with the store. Only this finds the loss of a room's last event, which leaves no gap; the
/// contract allows 2 s.
const COMPARE_EVERY: Duration = Duration::from_millis(1_500);
/// Rooms per comparison, and per batch of gaps.
const ROOMS: usize = 500;
/// Rooms read concurrently.
const AT_ONCE: usize = 8;
/// Events per read.
const PAGE: usize = 256;

/// Backfills gaps as they are found, and periodically compares all rooms with the store. Delivers nothing while `gate` is
/// closed. Runs for ever.
pub async fn run<L: RoomLog + ?Sized>(hub: Arc<Hub>, log: Arc<L>, gaps: mpsc::UnboundedReceiver<RoomId>, gate: DeliveryGate) {
    let reconciliation = Reconciliation { hub: &hub, log: &*log, gate: &gate };
    // Concurrently, so that many gaps do not delay the comparison.
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

    /// Compares all rooms with subscriptions with the store and backfills those that are behind. Rooms of shards with a new
    /// NATS subscription are compared at once, because their earlier events did not arrive.
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

    /// Backfills a room up to the store. The caller has claimed the backfill.
    async fn backfill(&self, id: RoomId) {
        let Some(room) = self.hub.room(id) else { return };
        // Released before reading, so that a gap found meanwhile claims a new backfill.
        room.end_backfill();
        while let Some(last) = room.last() {
            match self.log.events_after(id, Access::Any, last, PAGE).await {
                // Checked after the read, which may have taken long. The next comparison retries.
                Ok(_) if !self.gate.is_open() => return,
                Ok(page) => {
                    let took_all = self.hub.accept(id, &page.events);
                    // A room with too many undelivered events requests a backfill after their delivery.
                    if !took_all || page.events.last().is_none_or(|event| event.seq >= page.head) {
                        return;
                    }
                }
                // The next comparison retries.
                Err(error) => return tracing::warn!(%error, "a gap in a room could not be read from the store yet"),
            }
        }
    }
}
