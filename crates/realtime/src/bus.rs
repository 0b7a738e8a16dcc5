//! The event bus: nodes on one database exchange events and signals over NATS.
//!
//! Rooms and users are divided into shards, each with a subject of its own. A node subscribes only to the shards of its rooms
//! and users with connections (`interest.rs`).
//!
//! Delivery may lose, duplicate and reorder messages: core NATS delivers at most once and does not order messages of different
//! nodes. The hub orders events by `seq`, drops duplicates and reads missing events from the store. While NATS is away, nodes
//! find new events in the store, with more delay.
//!
//! A forged event would still do harm, because it would take the `seq` of a genuine one. Every message is therefore
//! authenticated (`seal.rs`) with a key that only nodes with the cluster's secrets have.

mod link;
mod meters;
mod options;
mod parts;
mod replay;
mod seal;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatsphere_core::{CommitSink, Committed, Event, Signal, SignalSink};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use link::NatsLink;
use meters::Meters;
pub use options::{Credentials, InvalidNats, NatsOptions, NatsTls, NatsUrl, NkeySeed};
pub use seal::BusKeys;
pub use status::{Away, BusStatus};

use crate::hub::Hub;

/// Maximum number of queued commits and signals. Commits beyond it are not published: other nodes read their events from the
/// store.
const MAX_WAITING: usize = 256;
/// Queue places that signals may not use.
const RESERVED_FOR_COMMITS: usize = MAX_WAITING / 2;
/// Maximum memory of queued events, in bytes.
const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// Passes each commit and signal to this node's hub and publishes it to the other nodes.
pub struct Bus {
    hub: Arc<Hub>,
    peers: Option<Peers>,
}

/// The publishing side of a clustered bus.
struct Peers {
    queue: mpsc::Sender<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
    status: Arc<BusStatus>,
    meters: Meters,
}

/// A queued commit or signal.
enum Waiting {
    /// The events of a commit, and their size in memory in bytes.
    Events(Vec<Arc<Event>>, usize),
    Signal(Signal),
}

/// A message on the bus, encoded as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusMessage {
    /// Events of rooms of one shard. Events of one room are in the order of `seq`.
    Events(Vec<Event>),
    /// Signals to topics of one shard.
    Signals(Vec<Signal>),
}

impl BusMessage {
    /// Delivers a message of another node to this node's connections.
    pub fn deliver(self, hub: &Hub) {
        match self {
            Self::Events(events) => hub.publish(events.into_iter().map(Arc::new).collect()),
            Self::Signals(signals) => signals.into_iter().for_each(|signal| hub.signal(signal)),
        }
    }
}

/// The receiving end of the publish queue, for [`NatsLink::run`].
pub struct PublishQueue {
    queue: mpsc::Receiver<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Bus {
    /// The bus of a single node.
    pub fn local(hub: Arc<Hub>) -> Self {
        Self { hub, peers: None }
    }

    /// The bus of one node of several. Commits and signals wait in the [`PublishQueue`] for [`NatsLink::run`]. While `status`
    /// reports the bus as away nothing is queued: by the time it is back, other nodes have read the events from the store.
    pub fn clustered(hub: Arc<Hub>, status: Arc<BusStatus>) -> (Self, PublishQueue) {
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let peers = Peers { queue: sender, waiting_bytes: waiting_bytes.clone(), status, meters: Meters::register() };
        (Self { hub, peers: Some(peers) }, PublishQueue { queue, waiting_bytes })
    }
}

impl CommitSink for Bus {
    fn committed(&self, batch: Committed) {
        if let Some(peers) = &self.peers
            && !batch.events.is_empty()
        {
            peers.publish(&batch.events);
        }
        self.hub.committed(batch);
    }
}

impl SignalSink for Bus {
    fn signal(&self, signal: Signal) {
        if let Some(peers) = &self.peers {
            peers.signal(&signal);
        }
        self.hub.signal(signal);
    }
}

impl Peers {
    fn signal(&self, signal: &Signal) {
        if !self.status.is_connected() {
            return;
        }
        if self.queue.capacity() < RESERVED_FOR_COMMITS || self.queue.try_send(Waiting::Signal(signal.clone())).is_err() {
            self.meters.signals.increment(1);
        }
    }

    fn publish(&self, events: &[Arc<Event>]) {
        if !self.status.is_connected() {
            return self.meters.away.increment(1);
        }
        let bytes = events.iter().map(|event| event.held_len()).sum();
        if self.waiting_bytes.load(Ordering::Relaxed) + bytes > MAX_WAITING_BYTES {
            return self.meters.queue_full.increment(1);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A commit that does not fit is dropped; other nodes read it from the store.
        if self.queue.try_send(Waiting::Events(events.to_vec(), bytes)).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.meters.queue_full.increment(1);
        }
    }
}

impl PublishQueue {
    async fn next(&mut self) -> Option<Waiting> {
        let waiting = self.queue.recv().await?;
        self.forget(&waiting);
        Some(waiting)
    }

    /// Drops everything that is queued; returns the number of commits among it.
    fn clear(&mut self) -> u64 {
        let mut forgotten = 0;
        while let Ok(waiting) = self.queue.try_recv() {
            forgotten += u64::from(matches!(waiting, Waiting::Events(..)));
            self.forget(&waiting);
        }
        forgotten
    }

    fn forget(&self, waiting: &Waiting) {
        if let Waiting::Events(_, bytes) = waiting {
            self.waiting_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{EventKind, RoomId, Seq, Timestamp, UserId, UserRef, Username};

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    /// The longest names that the settings allow.
    #[test]
    fn what_waits_is_bounded_however_long_names_are() {
        let (hub, _tasks) = Hub::new(1);
        let status = Arc::new(BusStatus::new());
        status.connected("here");
        let (bus, mut publish_queue) = Bus::clustered(Arc::new(hub), status);
        let user = || UserRef { id: UserId::new(AT), username: Username::from_stored("😀".repeat(1_000)) };
        let joined = |seq| {
            let kind = EventKind::MemberJoined { user: user(), by: user() };
            Arc::new(Event { room_id: RoomId::new(AT), seq: Seq::new(seq), at: AT, kind })
        };
        for _ in 0..MAX_WAITING {
            bus.committed(Committed { events: (1..=50).map(joined).collect(), acks: Vec::new() });
        }
        let mut commits = 0;
        while publish_queue.queue.try_recv().is_ok() {
            commits += 1;
        }
        let held = commits * 50 * 2 * 4_000;
        assert!((MAX_WAITING_BYTES / 2..=MAX_WAITING_BYTES).contains(&held), "{held} bytes wait");
    }
}
