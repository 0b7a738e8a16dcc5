//! The queue between the commits of this node and NATS, bounded in number and in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chatsphere_core::{Event, Signal};
use tokio::sync::mpsc;

use super::meters::Meters;
use super::status::BusStatus;

/// Maximum number of queued commits and signals. Commits beyond it are not published: other nodes read their events from the
/// store.
const MAX_QUEUED: usize = 256;
/// Queue slots that signals may not use.
const RESERVED_FOR_COMMITS: usize = MAX_QUEUED / 2;
/// Maximum memory of queued events, in bytes.
const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// A publish queue, and the side that fills it. Nothing is queued while `status` reports the bus as disconnected.
pub(super) fn new(status: Arc<BusStatus>) -> (Publisher, PublishQueue) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let publisher = Publisher { sender, queued_bytes: queued_bytes.clone(), status, meters: Meters::register() };
    (publisher, PublishQueue { receiver, queued_bytes })
}

/// A queued commit or signal.
pub(super) enum Queued {
    Commit {
        events: Vec<Arc<Event>>,
        /// The size of the events in memory.
        bytes: usize,
    },
    Signal(Signal),
}

/// The sending side of the publish queue. It never waits: what does not fit is dropped.
pub(super) struct Publisher {
    sender: mpsc::Sender<Queued>,
    queued_bytes: Arc<AtomicUsize>,
    status: Arc<BusStatus>,
    meters: Meters,
}

impl Publisher {
    pub(super) fn queue_events(&self, events: &[Arc<Event>]) {
        if !self.status.is_connected() {
            return self.meters.disconnected.increment(1);
        }
        let bytes = events.iter().map(|event| event.held_len()).sum();
        if self.queued_bytes.load(Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES {
            return self.meters.queue_full.increment(1);
        }
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.sender.try_send(Queued::Commit { events: events.to_vec(), bytes }).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.meters.queue_full.increment(1);
        }
    }

    pub(super) fn queue_signal(&self, signal: &Signal) {
        if !self.status.is_connected() {
            return;
        }
        if self.sender.capacity() < RESERVED_FOR_COMMITS || self.sender.try_send(Queued::Signal(signal.clone())).is_err() {
            self.meters.signals_dropped.increment(1);
        }
    }
}

/// The receiving side of the publish queue, for [`NatsLink::run`](super::NatsLink::run).
pub struct PublishQueue {
    receiver: mpsc::Receiver<Queued>,
    queued_bytes: Arc<AtomicUsize>,
}

impl PublishQueue {
    pub(super) async fn next(&mut self) -> Option<Queued> {
        let queued = self.receiver.recv().await?;
        self.release_bytes(&queued);
        Some(queued)
    }

    /// Drops everything that is queued; returns the number of commits among it.
    pub(super) fn clear(&mut self) -> u64 {
        let mut commits = 0;
        while let Ok(queued) = self.receiver.try_recv() {
            commits += u64::from(matches!(queued, Queued::Commit { .. }));
            self.release_bytes(&queued);
        }
        commits
    }

    fn release_bytes(&self, queued: &Queued) {
        if let Queued::Commit { bytes, .. } = queued {
            self.queued_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{CommitSink, Committed, EventKind, RoomId, Seq, Timestamp, UserId, UserRef, Username};

    use super::super::Bus;
    use super::*;
    use crate::hub::Hub;

    const AT: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    /// The longest names that the settings allow.
    #[test]
    fn what_waits_is_bounded_however_long_names_are() {
        let (hub, _tasks) = Hub::new(1);
        let status = Arc::new(BusStatus::new());
        status.set_connected("here");
        let (bus, mut publish_queue) = Bus::clustered(Arc::new(hub), status);
        let user = || UserRef { id: UserId::new(AT), username: Username::from_stored("😀".repeat(1_000)) };
        let joined = |seq| {
            let kind = EventKind::MemberJoined { user: user(), by: user() };
            Arc::new(Event { room_id: RoomId::new(AT), seq: Seq::new(seq), at: AT, kind })
        };
        for _ in 0..MAX_QUEUED {
            bus.committed(Committed { events: (1..=50).map(joined).collect(), acks: Vec::new() });
        }
        let mut commits = 0;
        while publish_queue.receiver.try_recv().is_ok() {
            commits += 1;
        }
        let held = commits * 50 * 2 * 4_000;
        assert!((MAX_QUEUED_BYTES / 2..=MAX_QUEUED_BYTES).contains(&held), "{held} bytes wait");
    }
}
