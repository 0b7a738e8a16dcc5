//! Reads from the store what the bus did not bring.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{Access, RoomId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::hub::Hub;
use crate::log::RoomLog;

/// How long a gap may close by itself: events of two nodes often overtake each other.
const PATIENCE: Duration = Duration::from_millis(5);
/// How often rooms compare themselves with the store. A lost last event leaves no gap, so only this finds it; the contract
/// allows 2 s.
const COMPARE_EVERY: Duration = Duration::from_millis(1_500);
/// Rooms compared in one read.
const COMPARE_PAGE: usize = 500;
/// Events read at a time.
const PAGE: usize = 256;

/// Closes gaps as they are seen, and compares all rooms with the store now and then. Runs until the hub is dropped.
pub async fn run<L: RoomLog + ?Sized>(hub: Arc<Hub>, log: Arc<L>, mut gaps: mpsc::UnboundedReceiver<RoomId>) {
    let mut compare = interval_at(Instant::now() + COMPARE_EVERY, COMPARE_EVERY);
    compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            room = gaps.recv() => match room {
                Some(room) => {
                    sleep(PATIENCE).await;
                    mend(&hub, &*log, room).await;
                }
                None => return,
            },
            _ = compare.tick() => compare_all(&hub, &*log).await,
        }
    }
}

/// Compares every room that somebody listens to with the store, and mends those that are behind.
async fn compare_all<L: RoomLog + ?Sized>(hub: &Hub, log: &L) {
    for rooms in hub.room_ids().chunks(COMPARE_PAGE) {
        let heads = match log.heads(rooms).await {
            Ok(heads) => heads,
            Err(error) => return tracing::warn!(%error, "rooms could not be compared with the store"),
        };
        for (id, head) in heads {
            let Some(room) = hub.room(id) else { continue };
            if room.last().is_some_and(|last| last < head) && room.begin_repair() {
                mend(hub, log, id).await;
            }
        }
    }
}

/// Brings a room up to the store. Its repair was claimed before.
async fn mend<L: RoomLog + ?Sized>(hub: &Hub, log: &L, id: RoomId) {
    let Some(room) = hub.room(id) else { return };
    // Released first: a gap that shows while this one is read is claimed anew.
    room.end_repair();
    while let Some(last) = room.last() {
        match log.events_after(id, Access::Any, last, PAGE).await {
            Ok(page) => {
                hub.publish_to(id, &page.events);
                if page.events.len() < PAGE {
                    return;
                }
            }
            // The comparison with the store comes back to it.
            Err(error) => return tracing::warn!(%error, "a gap in a room could not be read from the store yet"),
        }
    }
}
