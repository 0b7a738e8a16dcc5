//! How nodes of one database tell each other of events and signals: over NATS, as a hint.
//!
//! Rooms and users are spread over shards, each a subject of its own. A node subscribes to those of which it has rooms or users
//! with connections (`interest.rs`), and gets nothing else.
//!
//! Core NATS delivers at most once and in no promised order between nodes. That is enough: the hub puts events in order, drops
//! what comes twice, and reads from the store what did not come. With NATS away nodes still find everything, later.
//!
//! A hint can do harm all the same: an event that nobody committed would take the number of a true one. So every message is
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

/// Commits that may wait to be told. Beyond it they are not told: other nodes find them in the store.
const WAITING: usize = 256;
/// Signals are told as long as so many more could wait.
const LEFT_FOR_COMMITS: usize = WAITING / 2;
/// Bytes of memory that they may hold together.
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// Hands each commit to this node's hub, and to the other nodes if there are any.
pub struct Bus {
    hub: Arc<Hub>,
    others: Option<Others>,
}

/// The way to the other nodes.
struct Others {
    queue: mpsc::Sender<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
    status: Arc<BusStatus>,
    meters: Meters,
}

/// What waits to be told.
enum Waiting {
    /// A commit, and what it holds in memory.
    Events(Vec<Arc<Event>>, usize),
    Signal(Signal),
}

/// What nodes tell each other, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusMessage {
    /// Events of rooms of one shard. Those of one room come in the order of their `seq`.
    Events(Vec<Event>),
    /// Signals to topics of one shard.
    Signals(Vec<Signal>),
}

impl BusMessage {
    /// Hands to a node's connections what another node told.
    pub fn deliver(self, hub: &Hub) {
        match self {
            Self::Events(events) => hub.publish(events.into_iter().map(Arc::new).collect()),
            Self::Signals(signals) => signals.into_iter().for_each(|signal| hub.signal(signal)),
        }
    }
}

/// Commits and signals that wait to be told to other nodes.
pub struct PublishQueue {
    queue: mpsc::Receiver<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Bus {
    /// For a node that is alone.
    pub fn local(hub: Arc<Hub>) -> Self {
        Self { hub, others: None }
    }

    /// For one of several nodes. What is to be told waits in `PublishQueue` until [`NatsLink::run`]; while `status` says that
    /// the bus is away, nothing is told, since other nodes have long found it in the store when the bus is back.
    pub fn clustered(hub: Arc<Hub>, status: Arc<BusStatus>) -> (Self, PublishQueue) {
        let (sender, queue) = mpsc::channel(WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let others = Others { queue: sender, waiting_bytes: waiting_bytes.clone(), status, meters: Meters::register() };
        (Self { hub, others: Some(others) }, PublishQueue { queue, waiting_bytes })
    }
}

impl CommitSink for Bus {
    fn committed(&self, batch: Committed) {
        if let Some(others) = &self.others
            && !batch.events.is_empty()
        {
            others.tell(&batch.events);
        }
        self.hub.committed(batch);
    }
}

impl SignalSink for Bus {
    fn signal(&self, signal: Signal) {
        if let Some(others) = &self.others {
            others.signal(&signal);
        }
        self.hub.signal(signal);
    }
}

impl Others {
    fn signal(&self, signal: &Signal) {
        if !self.status.is_connected() {
            return;
        }
        if self.queue.capacity() < LEFT_FOR_COMMITS || self.queue.try_send(Waiting::Signal(signal.clone())).is_err() {
            self.meters.signals.increment(1);
        }
    }

    fn tell(&self, events: &[Arc<Event>]) {
        if !self.status.is_connected() {
            return self.meters.away.increment(1);
        }
        let bytes = events.iter().map(|event| event.held_len()).sum();
        if self.waiting_bytes.load(Ordering::Relaxed) + bytes > WAITING_BYTES {
            return self.meters.queue_full.increment(1);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A full queue is a hint lost, and hints may be lost.
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

    /// Forgets what waits, and answers how many commits that were.
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

    /// The longest names that a setting allows.
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
        for _ in 0..WAITING {
            bus.committed(Committed { events: (1..=50).map(joined).collect(), acks: Vec::new() });
        }
        let mut commits = 0;
        while publish_queue.queue.try_recv().is_ok() {
            commits += 1;
        }
        let held = commits * 50 * 2 * 4_000;
        assert!((WAITING_BYTES / 2..=WAITING_BYTES).contains(&held), "{held} bytes wait");
    }
}
