//! Reconciles rooms with the store: backfills events that the bus did not deliver.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Access, Error, RoomId};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::delivery_gate::DeliveryGate;
use crate::hub::Hub;
use crate::interest::SubjectShard;
use crate::log::RoomLog;

/// How long a gap may close by itself: events of two nodes often overtake each other.
const GAP_GRACE: Duration = Duration::from_millis(5);
/// How often rooms are compared with the store. Only this finds the loss of a room's last event, which leaves no gap; the
/// contract allows 2 s.
const RECONCILE_EVERY: Duration = Duration::from_millis(1_500);
/// Rooms per comparison, and per batch of gaps.
const MAX_ROOMS: usize = 500;
/// Rooms read concurrently.
const MAX_READS: usize = 8;
/// Events per read.
const PAGE_LEN: usize = 256;

/// Backfills gaps as they are found, and periodically compares all rooms with the store. Delivers nothing while `gate` is
/// closed. Runs for ever.
pub async fn run<L: RoomLog + ?Sized>(hub: Arc<Hub>, log: Arc<L>, gaps: mpsc::UnboundedReceiver<RoomId>, gate: DeliveryGate) {
    let reconciliation = Reconciliation { hub: &hub, log: &*log, gate: &gate };
    // Concurrently, so that many gaps do not delay the comparison.
    tokio::join!(reconciliation.backfill_gaps(gaps), reconciliation.compare_rooms());
}

struct Reconciliation<'a, L: ?Sized> {
    hub: &'a Hub,
    log: &'a L,
    gate: &'a DeliveryGate,
}

impl<L: RoomLog + ?Sized> Reconciliation<'_, L> {
    /// Backfills the rooms in which gaps were found.
    async fn backfill_gaps(&self, mut gaps: mpsc::UnboundedReceiver<RoomId>) {
        let mut rooms = Vec::new();
        while gaps.recv_many(&mut rooms, MAX_ROOMS).await > 0 {
            sleep(GAP_GRACE).await;
            self.backfill_all(std::mem::take(&mut rooms)).await;
        }
    }

    /// Compares all rooms with the store, periodically. Rooms of shards with a new NATS subscription are compared at once,
    /// because their earlier events did not arrive.
    async fn compare_rooms(&self) {
        let mut ticks = interval_at(Instant::now() + RECONCILE_EVERY, RECONCILE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let new_shards = tokio::select! {
                biased;
                _ = ticks.tick() => None,
                shards = self.hub.interest.begun() => Some(shards),
            };
            if !self.gate.is_open() {
                continue;
            }
            let mut rooms = self.hub.room_ids();
            if let Some(shards) = new_shards {
                rooms.retain(|room| shards.contains(&SubjectShard::of_room(*room)));
            }
            if let Err(error) = self.backfill_behind(&rooms).await {
                tracing::warn!(%error, "rooms could not be reconciled with the store");
            }
        }
    }

    /// Backfills those of the rooms that are behind the store.
    async fn backfill_behind(&self, rooms: &[RoomId]) -> Result<(), Error> {
        for rooms in rooms.chunks(MAX_ROOMS) {
            let heads = self.log.heads(rooms).await?;
            let behind = heads.into_iter().filter(|(id, head)| {
                self.hub
                    .room(*id)
                    .is_some_and(|room| room.ordered_up_to().is_some_and(|ordered| ordered < *head) && room.claim_backfill())
            });
            self.backfill_all(behind.map(|(id, _)| id).collect()).await;
        }
        Ok(())
    }

    async fn backfill_all(&self, rooms: Vec<RoomId>) {
        stream::iter(rooms).for_each_concurrent(MAX_READS, |room| self.backfill(room)).await;
    }

    /// Backfills a room up to the store. The caller has claimed the backfill.
    async fn backfill(&self, id: RoomId) {
        let Some(room) = self.hub.room(id) else { return };
        // Released before reading, so that a gap found meanwhile claims a new backfill.
        room.release_backfill();
        while let Some(ordered) = room.ordered_up_to() {
            match self.log.events_after(id, Access::Any, ordered, PAGE_LEN).await {
                // Checked after the read, which may have taken long. The next comparison retries.
                Ok(_) if !self.gate.is_open() => return,
                Ok(page) => {
                    let accepted_all = self.hub.backfill(id, &page.events);
                    // A room with too many undelivered events requests a backfill after their delivery.
                    if !accepted_all || page.events.last().is_none_or(|event| event.seq >= page.head) {
                        return;
                    }
                }
                // The next comparison retries.
                Err(error) => return tracing::warn!(%error, "a gap in a room could not be read from the store yet"),
            }
        }
    }
}
