//! Simulates commits, the bus, the hub and resuming clients under a seeded scheduler.
//!
//! Tokio's paused clock runs the task that wakes first, and every task sleeps for times drawn from the seed, so a seed is a
//! schedule. Clients connect and disconnect, are added and removed, resume from their cursor, and check each frame. The bus
//! between two nodes delays, duplicates, reorders and loses events. A failure prints its seed; `CHATSPHERE_SEED=<seed>` replays
//! it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chatsphere_core::store::{EventsPage, Newest};
use chatsphere_core::turns::Turn;
use chatsphere_core::*;
use chatsphere_protocol::frames::{self, ServerFrame};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::room::Fault;
use crate::testing::{START, message, payloads, spawn_shards};
use crate::{Hub, Join, RoomLog, Socket, Subscriber, WriteQueue, join};

const USERS: usize = 5;

/// The parameters of a run.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    seed: u64,
    /// 1, or 2 with an unreliable bus between them.
    nodes: usize,
    fault: Option<Fault>,
    /// The sender's task publishes after its commit, and may be dropped before it does.
    publish_by_caller: bool,
}

type SharedRng = Arc<Mutex<StdRng>>;

/// A random number from 0 to `max`.
fn random(rng: &SharedRng, max: u64) -> u64 {
    rng.lock().unwrap().random_range(0..=max)
}

async fn random_delay(rng: &SharedRng, max_micros: u64) {
    let micros = random(rng, max_micros);
    sleep(Duration::from_micros(micros)).await;
}

/// A store with one room.
struct SimulatedStore {
    room: RoomId,
    users: Vec<UserRef>,
    rng: SharedRng,
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    events: Vec<Arc<Event>>,
    members: Vec<UserId>,
}

#[derive(Debug, Clone, Copy)]
enum Write {
    Post(usize),
    Add(usize),
    Remove(usize),
}

impl SimulatedStore {
    fn commit(&self, write: Write) -> Option<Arc<Event>> {
        let mut state = self.state.lock().unwrap();
        let seq = Seq::new(state.events.len() as u64 + 1);
        let (Write::Post(user) | Write::Add(user) | Write::Remove(user)) = write;
        let user = self.users[user].clone();
        let member = state.members.contains(&user.id);
        let kind = match write {
            Write::Post(_) if member => EventKind::Message(message(self.room, seq, user, &format!("line {seq}"))),
            Write::Add(_) if !member => {
                state.members.push(user.id);
                EventKind::MemberJoined { user: user.clone(), by: user }
            }
            Write::Remove(_) if member => {
                state.members.retain(|member| *member != user.id);
                EventKind::MemberLeft { user: user.clone(), by: user }
            }
            _ => return None,
        };
        let event = Arc::new(Event { room_id: self.room, seq, at: START, kind });
        state.events.push(event.clone());
        Some(event)
    }

    fn check(&self, access: Access) -> Result<(), Error> {
        match access {
            Access::Member(user) if !self.state.lock().unwrap().members.contains(&user) => Err(Forbidden::NotAMember.into()),
            _ => Ok(()),
        }
    }

    fn head(&self) -> Seq {
        Seq::new(self.state.lock().unwrap().events.len() as u64)
    }

    fn was_added_after(&self, user: UserId, seq: Seq) -> bool {
        let added =
            |event: &&Arc<Event>| matches!(&event.kind, EventKind::MemberJoined { user: joined, .. } if joined.id == user);
        self.state.lock().unwrap().events.iter().filter(added).any(|event| event.seq > seq)
    }
}

#[async_trait]
impl RoomLog for SimulatedStore {
    async fn events_after(&self, _: RoomId, access: Access, after: Seq, limit: usize) -> Result<EventsPage, Error> {
        random_delay(&self.rng, 400).await;
        self.check(access)?;
        let page = {
            let state = self.state.lock().unwrap();
            let begin = (after.get() as usize).min(state.events.len());
            // Small pages, so that a run has many page boundaries.
            let end = (begin + limit.min(3)).min(state.events.len());
            EventsPage { events: state.events[begin..end].to_vec(), head: Seq::new(state.events.len() as u64) }
        };
        random_delay(&self.rng, 400).await;
        Ok(page)
    }

    async fn newest(
        &self,
        _: RoomId,
        access: Access,
        (_, others): (usize, usize),
    ) -> Result<(Arc<Shared<Newest>>, Option<Turn>), Error> {
        random_delay(&self.rng, 400).await;
        self.check(access)?;
        let newest = {
            let state = self.state.lock().unwrap();
            let begin = state.events.len().saturating_sub(others.min(4));
            let head = Seq::new(state.events.len() as u64);
            Newest { messages: vec![], others: state.events[begin..].to_vec(), from: Seq::new(begin as u64 + 1), head }
        };
        random_delay(&self.rng, 400).await;
        Ok((Arc::new(Shared::new(newest)), None))
    }

    async fn heads(&self, rooms: &[RoomId]) -> Result<Vec<(RoomId, Seq)>, Error> {
        random_delay(&self.rng, 400).await;
        Ok(rooms.iter().map(|room| (*room, self.head())).collect())
    }

    fn epoch(&self) -> Epoch {
        Epoch::from_stored("one")
    }
}

type Submitted = (Write, oneshot::Sender<()>);

struct Simulation {
    scenario: Scenario,
    rng: SharedRng,
    store: Arc<SimulatedStore>,
    hubs: Vec<Arc<Hub>>,
    writers: Vec<mpsc::UnboundedSender<Submitted>>,
}

impl Simulation {
    fn new(scenario: Scenario) -> Arc<Self> {
        let rng: SharedRng = Arc::new(Mutex::new(StdRng::seed_from_u64(scenario.seed)));
        let users = (0..USERS)
            .map(|n| UserRef { id: UserId::from_bytes([n as u8 + 1; 16]), username: Username::from_stored(format!("u{n}")) })
            .collect();
        let room = RoomId::from_bytes([7; 16]);
        let store = Arc::new(SimulatedStore { room, users, rng: rng.clone(), state: Mutex::default() });
        let mut hubs = Vec::new();
        for _ in 0..scenario.nodes {
            let (mut hub, tasks) = Hub::new(1);
            hub.fault = scenario.fault;
            let hub = Arc::new(hub);
            tokio::spawn(crate::reconcile::run(hub.clone(), store.clone(), tasks.gaps, crate::DeliveryGate::open()));
            spawn_shards(&hub, tasks.shards.into_iter().chain(tasks.large_rooms));
            hubs.push(hub);
        }
        let (writers, queues): (Vec<_>, Vec<_>) = hubs.iter().map(|_| mpsc::unbounded_channel()).unzip();
        let simulation = Arc::new(Self { scenario, rng, store, hubs, writers });
        for (node, queue) in queues.into_iter().enumerate() {
            tokio::spawn(simulation.clone().run_writer(node, queue));
        }
        simulation
    }

    /// A node's writer: commits in groups, publishes to the bus, then acknowledges.
    async fn run_writer(self: Arc<Self>, node: usize, mut queue: mpsc::UnboundedReceiver<Submitted>) {
        let mut group = Vec::new();
        while queue.recv_many(&mut group, 4).await > 0 {
            random_delay(&self.rng, 200).await;
            let (writes, answers): (Vec<_>, Vec<_>) = group.drain(..).unzip();
            let events: Vec<_> = writes.into_iter().filter_map(|write| self.store.commit(write)).collect();
            random_delay(&self.rng, 200).await;
            if !self.scenario.publish_by_caller {
                self.publish(node, events);
            }
            for answer in answers {
                // The sender may have been dropped.
                let _ = answer.send(());
            }
        }
    }

    /// A node's own events arrive in order; the other node's are delayed, duplicated, reordered or lost.
    fn publish(self: &Arc<Self>, node: usize, events: Vec<Arc<Event>>) {
        self.hubs[node].publish(events.clone());
        for (other, hub) in self.hubs.iter().enumerate().filter(|(other, _)| *other != node) {
            debug_assert_ne!(other, node);
            for event in &events {
                let copies = [0, 1, 1, 1, 1, 2][random(&self.rng, 5) as usize];
                for _ in 0..copies {
                    let (hub, event, rng) = (hub.clone(), event.clone(), self.rng.clone());
                    tokio::spawn(async move {
                        random_delay(&rng, 3_000).await;
                        hub.publish(vec![event]);
                    });
                }
            }
        }
    }

    async fn submit(self: &Arc<Self>, write: Write) {
        let node = random(&self.rng, self.scenario.nodes as u64 - 1) as usize;
        let before = self.store.head();
        let (answer, answered) = oneshot::channel();
        let _ = self.writers[node].send((write, answer));
        let _ = answered.await;
        if self.scenario.publish_by_caller {
            random_delay(&self.rng, 100).await;
            let events = self.store.state.lock().unwrap().events[before.get() as usize..].to_vec();
            self.publish(node, events);
        }
    }

    /// Posts, adds and removes members. Sometimes the sender is dropped in the middle of a send.
    async fn submit_writes(self: Arc<Self>) {
        for _ in 0..40 {
            random_delay(&self.rng, 1_500).await;
            let user = random(&self.rng, USERS as u64 - 1) as usize;
            let write = match random(&self.rng, 11) {
                0 if user > 0 => Write::Remove(user),
                1 | 2 => Write::Add(user),
                _ => Write::Post(user),
            };
            let simulation = self.clone();
            let caller = tokio::spawn(async move { simulation.submit(write).await });
            if random(&self.rng, 3) == 0 {
                random_delay(&self.rng, 300).await;
                caller.abort();
            } else {
                let _ = caller.await;
            }
        }
    }
}

/// A client that keeps its cursor over all its connections.
struct Client {
    simulation: Arc<Simulation>,
    user: UserRef,
    cursor: Option<Seq>,
    /// The event that ended its membership.
    departed_at: Option<Seq>,
}

enum End {
    Left,
    Time,
}

impl Client {
    /// Connects to any node, joins from its cursor, and listens.
    async fn connect(&mut self, micros: u64) -> Result<(), String> {
        let node = random(&self.simulation.rng, self.simulation.scenario.nodes as u64 - 1) as usize;
        let hub = self.simulation.hubs[node].clone();
        let write_queue = Arc::new(WriteQueue::new(Socket::Queued, 1 << 20));
        let caller = Caller::operator(self.user.clone(), START);
        let subscriber = Arc::new(Subscriber::new(ConnectionId::new(START), Arc::new(caller), write_queue.clone()));
        let joining = tokio::spawn({
            let (store, subscriber, hub) = (self.simulation.store.clone(), subscriber.clone(), hub.clone());
            let (since, access) = (self.cursor.map(Seq::get), Access::Member(self.user.id));
            async move {
                let rights = move || Ok(access);
                let request = Join { room: store.room, rights: &rights, since, epoch: Some("one"), reference: None };
                join(&hub, &*store, &subscriber, &Limits::default(), Duration::from_secs(10), request).await
            }
        });
        self.departed_at = None;
        let until = tokio::time::Instant::now() + Duration::from_micros(micros);
        let end = loop {
            if let Some(end) = self.read(&write_queue)? {
                break end;
            }
            tokio::select! {
                biased;
                () = write_queue.work() => {}
                () = tokio::time::sleep_until(until) => {
                    if let Some(end) = self.read(&write_queue)? {
                        break end;
                    }
                    break End::Time;
                }
            }
        };
        if random(&self.simulation.rng, 1) == 0 {
            joining.abort();
        }
        if matches!(end, End::Left) {
            // Nothing may follow `left`.
            random_delay(&self.simulation.rng, 3_000).await;
            if !write_queue.take().is_empty() {
                return Err("a frame after `left`".to_owned());
            }
        }
        hub.disconnect(&subscriber);
        Ok(())
    }

    fn read(&mut self, write_queue: &WriteQueue) -> Result<Option<End>, String> {
        let frames = write_queue.take();
        write_queue.taken_written();
        for payload in frames.iter().flat_map(|frames| payloads(frames)) {
            match serde_json::from_slice(payload).map_err(|error| error.to_string())? {
                ServerFrame::JoinConfirmation { recovered, .. } => {
                    if self.cursor.is_some() != recovered {
                        return Err(format!("recovered: {recovered} with the cursor {:?}", self.cursor));
                    }
                }
                ServerFrame::PreviousMessages(page) => {
                    if let Some(cursor) = self.cursor
                        && page.from_seq != cursor.next()
                    {
                        return Err(format!("a page from {} at the cursor {cursor}", page.from_seq));
                    }
                    let seqs = page.messages.iter().map(|message| message.seq).chain(page.events.iter().map(|event| event.seq));
                    let mut seqs: Vec<_> = seqs.map(Seq::get).collect();
                    seqs.sort_unstable();
                    if seqs != (page.from_seq.get()..=page.to_seq.get()).collect::<Vec<_>>() {
                        return Err(format!("the page {}..={} holds {seqs:?}", page.from_seq, page.to_seq));
                    }
                    self.cursor = Some(page.to_seq);
                }
                ServerFrame::Event(event) => {
                    let cursor = self.cursor.ok_or("live before the join was answered")?;
                    if event.seq != cursor.next() {
                        return Err(format!("event {} at the cursor {cursor}", event.seq));
                    }
                    if let Some(departed_at) = self.departed_at
                        && !self.simulation.store.was_added_after(self.user.id, departed_at)
                    {
                        return Err(format!("event {} after the membership ended at {departed_at}", event.seq));
                    }
                    if let frames::EventKind::MemberLeft { user, .. } = &event.kind
                        && user.id == self.user.id
                    {
                        self.departed_at = Some(event.seq);
                    }
                    self.cursor = Some(event.seq);
                }
                ServerFrame::Left { .. } => return Ok(Some(End::Left)),
                other => return Err(format!("an unexpected frame: {other:?}")),
            }
        }
        Ok(None)
    }

    async fn reconnect_repeatedly(mut self) -> Result<Self, String> {
        for _ in 0..12 {
            let micros = random(&self.simulation.rng, 8_000);
            self.connect(micros).await?;
            random_delay(&self.simulation.rng, 2_000).await;
        }
        Ok(self)
    }
}

async fn run(scenario: Scenario) -> Result<(), String> {
    let simulation = Simulation::new(scenario);
    for user in 0..3 {
        simulation.submit(Write::Add(user)).await;
    }
    let clients: Vec<_> = simulation
        .store
        .users
        .iter()
        .flat_map(|user| [user.clone(), user.clone()])
        .map(|user| Client { simulation: simulation.clone(), user, cursor: None, departed_at: None })
        .map(|client| tokio::spawn(client.reconnect_repeatedly()))
        .collect();
    let writers = [tokio::spawn(simulation.clone().submit_writes()), tokio::spawn(simulation.clone().submit_writes())];
    // One connection stays to the end, so that no later replay hides a lost event.
    let steady =
        Client { simulation: simulation.clone(), user: simulation.store.users[0].clone(), cursor: None, departed_at: None };
    let micros = if scenario.nodes == 1 { 600_000 } else { 6_000_000 };
    let mut steady_client = steady;
    let steady = tokio::spawn(async move {
        steady_client.connect(micros).await?;
        Ok::<_, String>(steady_client)
    });
    for writer in writers {
        writer.await.map_err(|error| error.to_string())?;
    }
    let mut seen: HashMap<UserId, Seq> = HashMap::new();
    for client in clients {
        let client = client.await.map_err(|error| error.to_string())??;
        seen.insert(client.user.id, client.cursor.unwrap_or_default());
    }
    let steady = steady.await.map_err(|error| error.to_string())??;
    if steady.cursor != Some(simulation.store.head()) {
        return Err(format!("the steady client stopped at {:?} of {}", steady.cursor, simulation.store.head()));
    }
    // Nobody is connected: a room that stays would keep its NATS subscription.
    random_delay(&simulation.rng, 10_000).await;
    if let Some(node) = simulation.hubs.iter().position(|hub| hub.room_count() > 0 || hub.interest.wants_any()) {
        return Err(format!("node {node} keeps a room without subscriptions"));
    }
    Ok(())
}

fn run_seed(scenario: Scenario) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(scenario))
}

fn seeds(max: u64) -> Vec<u64> {
    match std::env::var("CHATSPHERE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..max).collect(),
    }
}

#[test]
fn every_event_reaches_every_listener_once_and_in_order() {
    for nodes in [1, 2] {
        for seed in seeds(if nodes == 1 { 300 } else { 150 }) {
            let scenario = Scenario { seed, nodes, fault: None, publish_by_caller: false };
            if let Err(violation) = run_seed(scenario) {
                panic!("{violation}; replay with CHATSPHERE_SEED={seed} ({scenario:?})");
            }
        }
    }
}

#[test]
fn a_seed_is_a_schedule() {
    let scenario = Scenario { seed: 3, nodes: 2, fault: Some(Fault::TrustTheBus), publish_by_caller: false };
    assert_eq!(run_seed(scenario), run_seed(scenario));
    assert!(run_seed(scenario).is_err());
}

#[test]
fn each_planted_fault_is_found() {
    let sound = Scenario { seed: 0, nodes: 1, fault: None, publish_by_caller: false };
    for planted in [
        Scenario { fault: Some(Fault::TrustTheBus), nodes: 2, ..sound },
        Scenario { fault: Some(Fault::SubscribeWithoutCheck), ..sound },
        Scenario { fault: Some(Fault::KeepTheDeparted), ..sound },
        Scenario { publish_by_caller: true, ..sound },
    ] {
        let found = (0..100).find_map(|seed| run_seed(Scenario { seed, ..planted }).err().map(|violation| (seed, violation)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("not found in 100 seeds: {planted:?}"));
        println!("{planted:?}: seed {seed} found it: {violation}");
    }
}
