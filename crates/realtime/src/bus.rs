//! How nodes of one database tell each other of events: over NATS, as a hint.
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

use chatsphere_core::{CommitSink, Committed, Event, EventKind};
use tokio::sync::mpsc;

pub use link::Link;
use meters::Meters;
pub use options::{Credentials, InvalidNats, NatsOptions, NatsTls, NatsUrl, NkeySeed};
pub use seal::BusKeys;
pub use status::{Away, BusStatus};

use crate::hub::Hub;

/// Commits that may wait to be told. Beyond it they are not told: other nodes find them in the store.
const WAITING: usize = 256;
/// Bytes of contents that may wait to be told.
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

/// A commit that waits to be told.
struct Waiting {
    events: Vec<Arc<Event>>,
    bytes: usize,
}

/// Commits that wait to be told to other nodes.
pub struct Outbox {
    queue: mpsc::Receiver<Waiting>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Bus {
    /// For a node that is alone.
    pub fn local(hub: Arc<Hub>) -> Self {
        Self { hub, others: None }
    }

    /// For one of several nodes. What is to be told waits in `Outbox` until [`Link::run`]; while `status` says that the bus is
    /// away, nothing is told, since other nodes have long found it in the store when the bus is back.
    pub fn clustered(hub: Arc<Hub>, status: Arc<BusStatus>) -> (Self, Outbox) {
        let (sender, queue) = mpsc::channel(WAITING);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let others = Others { queue: sender, waiting_bytes: waiting_bytes.clone(), status, meters: Meters::register() };
        (Self { hub, others: Some(others) }, Outbox { queue, waiting_bytes })
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

impl Others {
    fn tell(&self, events: &[Arc<Event>]) {
        if !self.status.is_connected() {
            return self.meters.away.increment(1);
        }
        let bytes = events.iter().map(|event| size(event)).sum();
        if self.waiting_bytes.load(Ordering::Relaxed) + bytes > WAITING_BYTES {
            return self.meters.queue_full.increment(1);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A full outbox is a hint lost, and hints may be lost.
        if self.queue.try_send(Waiting { events: events.to_vec(), bytes }).is_err() {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.meters.queue_full.increment(1);
        }
    }
}

impl Outbox {
    async fn next(&mut self) -> Option<Vec<Arc<Event>>> {
        let waiting = self.queue.recv().await?;
        self.waiting_bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
        Some(waiting.events)
    }

    /// Forgets what waits, and answers how many commits that were.
    fn clear(&mut self) -> u64 {
        let mut forgotten = 0;
        while let Ok(waiting) = self.queue.try_recv() {
            self.waiting_bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
            forgotten += 1;
        }
        forgotten
    }
}

/// What an event holds in memory, about.
fn size(event: &Event) -> usize {
    const REST: usize = 512;
    match &event.kind {
        EventKind::Message(message) => message.content.as_str().len() + REST,
        _ => REST,
    }
}
