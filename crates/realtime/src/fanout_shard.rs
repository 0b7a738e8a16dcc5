//! A shard of the fan-out: hands the events of its rooms to those who listen, and acknowledgements to those who sent.
//!
//! In turns: a turn takes in all that has come, serves every room that has undelivered events for some subscriptions (or the
//! next one of the large rooms), and then encodes the acknowledgements. So a room of ten thousand holds up a room of two for
//! some subscriptions and no longer, and a connection gets the events of the small rooms that it listens to and the
//! acknowledgements of all that it sent in one write.

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
use crate::room::{Held, Left, Room};

/// Events that may wait for a shard. Beyond it they are dropped: rooms compare themselves with the store.
const MAX_WAITING: usize = 8_192;
/// A turn ends once it has served so many subscriptions, or when more has come. Among large rooms, it is some subscriptions of
/// one.
const TURN: usize = 512;
/// After so long a shard of large rooms lets go of its processor for a moment: the kernel takes it from a thread that
/// calculates only at its ticks, up to 4 ms apart, and whoever has little to do would wait for those.
const PASS_TIME: Duration = Duration::from_micros(500);
/// The kernel makes some 60 µs of it.
const PAUSE: Duration = Duration::from_micros(10);

/// The sending side of a shard.
pub(crate) struct ShardSender {
    loads: mpsc::UnboundedSender<ShardMessage>,
    waiting: Arc<AtomicUsize>,
}

/// A part of the fan-out, to be run as a task.
pub struct FanoutShard {
    /// Serves rooms with many subscribers, which other shards list here.
    of_large_rooms: bool,
    loads: mpsc::UnboundedReceiver<ShardMessage>,
    /// Events in `loads`.
    waiting: Arc<AtomicUsize>,
    /// Rooms with undelivered events, each once.
    listed: VecDeque<Arc<Room>>,
    /// Rooms in their cooldown, and until when.
    cooling_down: Vec<(Instant, Arc<Room>)>,
    acks: Vec<Ack>,
    /// Connections whose frames have not left yet.
    held: Held,
}

/// What comes to a shard at once.
enum ShardMessage {
    Commit { events: Vec<Arc<Event>>, acks: Vec<Ack> },
    List(Arc<Room>),
}

impl ShardSender {
    /// Acknowledgements always arrive; events may be dropped, as hints.
    pub(crate) fn send(&self, mut events: Vec<Arc<Event>>, acks: Vec<Ack>) {
        if self.waiting.load(Ordering::Relaxed) > MAX_WAITING {
            events = Vec::new();
        }
        if events.is_empty() && acks.is_empty() {
            return;
        }
        self.waiting.fetch_add(events.len(), Ordering::Relaxed);
        if let Err(unsent) = self.loads.send(ShardMessage::Commit { events, acks })
            && let ShardMessage::Commit { acks, .. } = unsent.0
        {
            // The shard is gone only while the node stops, and those who sent are told all the same.
            acks.into_iter().filter_map(ack::cork).for_each(|write_queue| write_queue.uncork());
        }
    }

    /// There is undelivered events in a room.
    pub(crate) fn list(&self, room: Arc<Room>) {
        // The receiver is gone only while the node stops.
        let _ = self.loads.send(ShardMessage::List(room));
    }
}

impl FanoutShard {
    pub(crate) fn new(of_large_rooms: bool) -> (ShardSender, Self) {
        let (sender, loads) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let shard = Self {
            of_large_rooms,
            loads,
            waiting: waiting.clone(),
            listed: VecDeque::new(),
            cooling_down: Vec::new(),
            acks: Vec::new(),
            held: Held::new(),
        };
        (ShardSender { loads: sender, waiting }, shard)
    }

    /// Hands out what comes until the task is dropped, or the hub.
    pub async fn run(mut self, hub: &Hub, mut batch: impl Batch) {
        let mut began = Instant::now();
        loop {
            if self.listed.is_empty() {
                if !self.wait(hub).await {
                    return;
                }
                began = Instant::now();
            }
            while let Ok(load) = self.loads.try_recv() {
                self.take(hub, load);
            }
            self.end_cooldowns();
            self.serve(hub, &mut batch);
            self.held.extend(self.acks.drain(..).filter_map(ack::cork));
            self.held.drain(..).for_each(|write_queue| write_queue.uncork());
            if self.of_large_rooms && !self.listed.is_empty() && began.elapsed() >= PASS_TIME {
                sleep(PAUSE);
                began = Instant::now();
            }
            // However much there is, others have their turn too.
            yield_now().await;
        }
    }

    /// Waits for something to do. `false` once nothing can come any more.
    async fn wait(&mut self, hub: &Hub) -> bool {
        let load = match self.cooling_down.iter().map(|(until, _)| *until).min() {
            None => self.loads.recv().await,
            Some(until) => tokio::select! {
                biased;
                load = self.loads.recv() => load,
                () = sleep_until(until) => return true,
            },
        };
        match load {
            Some(load) => {
                self.take(hub, load);
                true
            }
            None => false,
        }
    }

    fn take(&mut self, hub: &Hub, load: ShardMessage) {
        match load {
            ShardMessage::List(room) => self.listed.push_back(room),
            ShardMessage::Commit { events, acks } => {
                self.waiting.fetch_sub(events.len(), Ordering::Relaxed);
                self.acks.extend(acks);
                for run in events.chunk_by(|one, next| one.room_id == next.room_id) {
                    self.accept(hub, run);
                }
            }
        }
    }

    /// Several events of one room are put in order together.
    fn accept(&mut self, hub: &Hub, run: &[Arc<Event>]) {
        let Some(room) = run.first().and_then(|event| hub.room(event.room_id)) else { return };
        if room.is_large() && !self.of_large_rooms {
            // Its lock is not to be waited for here.
            return hub.send_to_large_room(room.id, run.to_vec());
        }
        let accepted = room.accept(
            run,
            #[cfg(test)]
            hub.fault,
        );
        if accepted.gap {
            hub.ask_for_backfill(room.id);
        }
        if accepted.list {
            self.listed.push_back(room);
        }
    }

    fn end_cooldowns(&mut self) {
        if self.cooling_down.is_empty() {
            return;
        }
        let now = Instant::now();
        self.listed.extend(self.cooling_down.extract_if(.., |(until, _)| *until <= now).map(|(_, room)| room));
    }

    /// Serves the rooms on the list in turn, some subscriptions of each, for as long as a turn goes.
    fn serve(&mut self, hub: &Hub, batch: &mut dyn Batch) {
        let (mut subscriptions, mut delivered) = (0, 0);
        let mut at_least = self.listed.len();
        let turn = if self.of_large_rooms { 1 } else { TURN };
        while subscriptions < turn && (at_least > 0 || self.loads.is_empty()) {
            let Some(room) = self.listed.pop_front() else { break };
            at_least = at_least.saturating_sub(1);
            if room.is_large() != self.of_large_rooms {
                // It has grown, or shrunk, since it was listed. Still one shard alone has it.
                hub.list(room);
                continue;
            }
            let served = room.serve(
                &mut self.held,
                batch,
                #[cfg(test)]
                hub.fault,
            );
            subscriptions += served.subscriptions;
            delivered += served.delivered;
            if served.gap {
                hub.ask_for_backfill(room.id);
            }
            match served.left {
                Left::Nothing => {}
                Left::Cooldown(cooldown) => self.cooling_down.push((Instant::now() + cooldown, room)),
                Left::Pass | Left::Another => self.listed.push_back(room),
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
    fn a_room_that_grows_while_it_is_served_goes_to_the_lane_of_crowds() {
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
        assert_eq!(shard.listed.len(), 1, "it is a small room");
        (1..LARGE).for_each(|_| subscription());
        shard.serve(&hub, &mut OneByOne);
        assert!(shard.listed.is_empty(), "its lock is not for this shard any more");
        let Ok(ShardMessage::List(room)) = large_rooms.loads.try_recv() else { panic!("no shard has it") };
        large_rooms.listed.push_back(room);
        while !large_rooms.listed.is_empty() {
            large_rooms.serve(&hub, &mut OneByOne);
        }
        // From now on its events go there at once.
        shard.accept(&hub, &[joined(3)]);
        assert!(
            matches!(large_rooms.loads.try_recv(), Ok(ShardMessage::Commit { events, .. }) if events[0].seq == Seq::new(3))
        );
    }
}
