//! A shard of the fan-out: a task that delivers the events of its rooms to their subscriptions, and acknowledgements to
//! senders.
//!
//! The shard runs a loop. An iteration receives all queued messages, serves every room in the run queue (or the next one, in a
//! shard of large rooms) for a bounded number of subscriptions, and then encodes the acknowledgements. A room of ten thousand
//! therefore delays a room of two by a bounded time, and a connection gets the events of its small rooms and its
//! acknowledgements in one write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use chatsphere_core::Event;
use chatsphere_core::store::Ack;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::ack;
use crate::batch::Batch;
use crate::hub::Hub;
use crate::room::{Corked, Remaining, Room};

/// Maximum number of events queued for a shard. Events beyond it are dropped; reconciliation reads them from the store.
const MAX_QUEUED_EVENTS: usize = 8_192;
/// Subscriptions after which an iteration ends. An iteration of a shard of large rooms serves one room once.
const MAX_SUBSCRIPTIONS: usize = 512;
/// A shard of large rooms sleeps after this much continuous work. The kernel preempts a busy thread only at its ticks, up to 4
/// ms apart, and threads with little to do would wait for those.
const MAX_BUSY: Duration = Duration::from_micros(500);
/// The requested sleep; the kernel makes about 60 µs of it.
const PAUSE: Duration = Duration::from_micros(10);

/// The sending side of a shard.
pub(crate) struct ShardSender {
    messages: mpsc::UnboundedSender<ShardMessage>,
    /// Events in `messages`.
    queued_events: Arc<AtomicUsize>,
}

/// One shard of the fan-out; runs as a task.
pub struct FanoutShard {
    /// Serves large rooms, which the other shards pass on.
    of_large_rooms: bool,
    messages: mpsc::UnboundedReceiver<ShardMessage>,
    /// Events in `messages`.
    queued_events: Arc<AtomicUsize>,
    /// Rooms with undelivered events, each at most once.
    run_queue: VecDeque<Arc<Room>>,
    /// Rooms in their cooldown, and when it ends.
    cooling_down: Vec<(Instant, Arc<Room>)>,
    acks: Vec<Ack>,
    /// Connections with corked frames.
    corked: Corked,
}

/// A message to a shard.
enum ShardMessage {
    Commit { events: Vec<Arc<Event>>, acks: Vec<Ack> },
    Schedule(Arc<Room>),
}

impl ShardSender {
    /// Queues events and acknowledgements. Acknowledgements are never dropped; events are if the queue is full.
    pub(crate) fn send(&self, mut events: Vec<Arc<Event>>, acks: Vec<Ack>) {
        if self.queued_events.load(Ordering::Relaxed) > MAX_QUEUED_EVENTS {
            events = Vec::new();
        }
        if events.is_empty() && acks.is_empty() {
            return;
        }
        self.queued_events.fetch_add(events.len(), Ordering::Relaxed);
        if let Err(unsent) = self.messages.send(ShardMessage::Commit { events, acks })
            && let ShardMessage::Commit { acks, .. } = unsent.0
        {
            // The shard is gone only while the node stops; senders still get their acknowledgements.
            acks.into_iter().filter_map(ack::cork).for_each(|write_queue| write_queue.uncork());
        }
    }

    /// Adds a room with undelivered events to the run queue.
    pub(crate) fn schedule(&self, room: Arc<Room>) {
        // The receiver is gone only while the node stops.
        let _ = self.messages.send(ShardMessage::Schedule(room));
    }
}

impl FanoutShard {
    pub(crate) fn new(of_large_rooms: bool) -> (ShardSender, Self) {
        let (sender, messages) = mpsc::unbounded_channel();
        let queued_events = Arc::new(AtomicUsize::new(0));
        let shard = Self {
            of_large_rooms,
            messages,
            queued_events: queued_events.clone(),
            run_queue: VecDeque::new(),
            cooling_down: Vec::new(),
            acks: Vec::new(),
            corked: Corked::new(),
        };
        (ShardSender { messages: sender, queued_events }, shard)
    }

    /// Delivers events until the hub is dropped.
    pub async fn run(mut self, hub: &Hub, mut batch: impl Batch) {
        let mut began = Instant::now();
        loop {
            if self.run_queue.is_empty() {
                if !self.wait(hub).await {
                    return;
                }
                began = Instant::now();
            }
            while let Ok(message) = self.messages.try_recv() {
                self.handle(hub, message);
            }
            self.end_cooldowns();
            self.serve_rooms(hub, &mut batch);
            self.corked.extend(self.acks.drain(..).filter_map(ack::cork));
            self.corked.drain(..).for_each(|write_queue| write_queue.uncork());
            if self.of_large_rooms && !self.run_queue.is_empty() && began.elapsed() >= MAX_BUSY {
                sleep(PAUSE);
                began = Instant::now();
            }
            // Yields after each iteration, so that other tasks run however much is queued.
            yield_now().await;
        }
    }

    /// Waits for a message or the end of a cooldown. `false` once all senders are gone.
    async fn wait(&mut self, hub: &Hub) -> bool {
        let message = match self.cooling_down.iter().map(|(until, _)| *until).min() {
            None => self.messages.recv().await,
            Some(until) => tokio::select! {
                biased;
                message = self.messages.recv() => message,
                () = sleep_until(until) => return true,
            },
        };
        match message {
            Some(message) => {
                self.handle(hub, message);
                true
            }
            None => false,
        }
    }

    fn handle(&mut self, hub: &Hub, message: ShardMessage) {
        match message {
            ShardMessage::Schedule(room) => self.run_queue.push_back(room),
            ShardMessage::Commit { events, acks } => {
                self.queued_events.fetch_sub(events.len(), Ordering::Relaxed);
                self.acks.extend(acks);
                for events in events.chunk_by(|one, next| one.room_id == next.room_id) {
                    self.accept(hub, events);
                }
            }
        }
    }

    /// Passes consecutive events of one room to the room.
    fn accept(&mut self, hub: &Hub, events: &[Arc<Event>]) {
        let Some(room) = events.first().and_then(|event| hub.room(event.room_id)) else { return };
        if room.is_large() && !self.of_large_rooms {
            // This shard must not wait for the lock of a large room.
            return hub.send_to_large_room(room.id, events.to_vec());
        }
        let accepted = room.accept(
            events,
            #[cfg(test)]
            hub.fault,
        );
        if accepted.needs_backfill {
            hub.ask_for_backfill(room.id);
        }
        if accepted.needs_scheduling {
            self.run_queue.push_back(room);
        }
    }

    fn end_cooldowns(&mut self) {
        if self.cooling_down.is_empty() {
            return;
        }
        let now = Instant::now();
        self.run_queue.extend(self.cooling_down.extract_if(.., |(until, _)| *until <= now).map(|(_, room)| room));
    }

    /// Serves the rooms in the run queue, some subscriptions of each, until the iteration ends.
    fn serve_rooms(&mut self, hub: &Hub, batch: &mut dyn Batch) {
        let (mut subscriptions, mut delivered) = (0, 0);
        // Every room that is in the run queue now is served, even if messages arrive.
        let mut to_serve = self.run_queue.len();
        let max_subscriptions = if self.of_large_rooms { 1 } else { MAX_SUBSCRIPTIONS };
        while subscriptions < max_subscriptions && (to_serve > 0 || self.messages.is_empty()) {
            let Some(room) = self.run_queue.pop_front() else { break };
            to_serve = to_serve.saturating_sub(1);
            if room.is_large() != self.of_large_rooms {
                // The room grew or shrank since it was scheduled, and moves to the other kind of shard. Only one shard has it
                // at any time.
                hub.schedule(room);
                continue;
            }
            let progress = room.advance_pass(
                &mut self.corked,
                batch,
                #[cfg(test)]
                hub.fault,
            );
            subscriptions += progress.subscriptions;
            delivered += progress.delivered;
            if progress.needs_backfill {
                hub.ask_for_backfill(room.id);
            }
            match progress.remaining {
                // The last membership among its subscribers may have ended.
                Remaining::Nothing if progress.is_deserted => hub.remove_if_unused(room.id),
                Remaining::Nothing => {}
                Remaining::NextPassAfter(cooldown) => self.cooling_down.push((Instant::now() + cooldown, room)),
                Remaining::RestOfPass | Remaining::NextPass => self.run_queue.push_back(room),
            }
        }
        hub.meters.events_out.increment(delivered);
    }
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{Access, Caller, ConnectionId, EventKind, RoomId, Seq, Timestamp, UserId, UserRef, Username};

    use super::*;
    use crate::batch::OneByOne;
    use crate::room::LARGE;
    use crate::subscriber::Subscriber;
    use crate::write_queue::{Socket, WriteQueue};

    const START: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    #[test]
    fn a_room_that_grows_while_it_is_served_moves_to_the_shard_of_large_rooms() {
        let (hub, mut tasks) = Hub::new(1);
        let user = UserRef { id: UserId::new(START), username: Username::from_stored("ada".to_owned()) };
        let id = RoomId::new(START);
        let pin = hub.pin(id);
        let subscription = || {
            let write_queue = Arc::new(WriteQueue::new(Socket::Queued, 1 << 20));
            let caller = Arc::new(Caller::operator(user.clone(), START));
            let subscriber = Arc::new(Subscriber::new(ConnectionId::new(START), caller, write_queue));
            pin.room.subscribe(&subscriber, Access::Any, Seq::new(1), 1 << 20, None);
        };
        let joined = |seq| {
            let kind = EventKind::MemberJoined { user: user.clone(), by: user.clone() };
            Arc::new(Event { room_id: id, seq: Seq::new(seq), at: START, kind })
        };
        subscription();
        let (shard, large_rooms) = (&mut tasks.shards[0], &mut tasks.large_rooms[0]);
        shard.accept(&hub, &[joined(2)]);
        assert_eq!(shard.run_queue.len(), 1, "it is a small room");
        (1..LARGE).for_each(|_| subscription());
        shard.serve_rooms(&hub, &mut OneByOne);
        assert!(shard.run_queue.is_empty(), "its lock is not for this shard any more");
        let Ok(ShardMessage::Schedule(room)) = large_rooms.messages.try_recv() else { panic!("no shard has it") };
        large_rooms.run_queue.push_back(room);
        while !large_rooms.run_queue.is_empty() {
            large_rooms.serve_rooms(&hub, &mut OneByOne);
        }
        // Its next events go to the shard of large rooms directly.
        shard.accept(&hub, &[joined(3)]);
        assert!(
            matches!(large_rooms.messages.try_recv(), Ok(ShardMessage::Commit { events, .. }) if events[0].seq == Seq::new(3))
        );
    }
}
