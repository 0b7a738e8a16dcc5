//! Ephemeral traffic: delivers signals, such as typing, to the connections of this node.
//!
//! Signals wait in one queue; those of a merged kind are merged by topic and user. A task of their own delivers them beside the
//! fan-out of events, and those of a user in a room in order. They are dropped first under pressure: new ones while the queue
//! is full, and those for a connection that is behind with reading. Events end signals that they make obsolete: the message of
//! a user ends that user's typing, and a departure all signals of that user.
//!
//! Who types is kept until it ends or expires (`typists.rs`), because a new subscriber is shown it too: a signal may be
//! delivered between the last page of a join and the subscription.

mod typists;

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chatsphere_core::signal::{Except, TYPING_EXPIRES};
use chatsphere_core::{ConnectionId, Event, RoomId, Seq, Signal, SignalKind, Topic, UserId};
use chatsphere_protocol::frames::SignalFrame;
use metrics::{Counter, counter};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use self::typists::{Typist, Typists};
use crate::frame::encode;
use crate::hub::Hub;
use crate::room::{Room, RoomSignal, Signalled};
use crate::subscriber::Subscriber;
use crate::wire;
use crate::write_queue::WriteQueue;

/// Maximum number of queued signals, and of newcomers.
const MAX_PENDING: usize = 4_096;
/// From this many subscribed connections on, a room gets the number of users typing instead of their names.
#[cfg(not(test))]
const COUNTED_FROM: usize = 201;
#[cfg(test)]
const COUNTED_FROM: usize = 4;
/// How often the number is sent.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long a signal waits for the events before it, and how often its delivery is retried.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(5);

/// Finds the connections of a user, to whom a signal can go whatever rooms they have joined.
pub trait Connections: Send + Sync {
    /// The write queues of this user's connections on this node.
    fn of_user(&self, user: UserId) -> Vec<Arc<WriteQueue>>;
}

/// A newer signal replaces an older one with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    topic: Topic,
    user: UserId,
    kind: Discriminant<SignalKind>,
    /// 0 for a signal of a merged kind. Each other signal has a number of its own.
    number: u64,
}

impl Key {
    fn new(signal: &Signal, number: u64) -> Self {
        Self { topic: signal.topic, user: signal.user.id, kind: discriminant(&signal.kind), number }
    }
}

/// The queued signals of one node.
pub(crate) struct Signals {
    state: Mutex<State>,
    /// The number of entries in `state`. While nobody types, commits and joins read only this.
    count: AtomicUsize,
    /// An event has ended the signal that is being delivered.
    ended: AtomicBool,
    wake: Notify,
    connections: OnceLock<Weak<dyn Connections>>,
    meters: Meters,
}

#[derive(Default)]
struct State {
    pending: HashMap<Key, Pending>,
    queue: VecDeque<Key>,
    /// Signals that wait for events. They precede the queue.
    behind: VecDeque<Key>,
    /// The number of the last signal that is not merged.
    last_number: u64,
    typists: Typists,
    newcomers: Vec<Newcomer>,
    /// The signal that is being delivered, and the event after which it was sent.
    delivering: Option<(Key, Seq)>,
}

struct Pending {
    key: Key,
    signal: Signal,
    received: Instant,
}

/// A new subscription, to be shown who types.
struct Newcomer {
    room: RoomId,
    subscriber: Arc<Subscriber>,
    since: Instant,
    /// The users that it is yet to be shown.
    users: Vec<UserId>,
}

struct Meters {
    received: Counter,
    sent: Counter,
    slow: Counter,
    behind: Counter,
    full: Counter,
}

impl State {
    /// The key of a signal. One of a kind that is not merged gets the next number.
    fn key(&mut self, signal: &Signal) -> Key {
        let is_numbered = !signal.kind.is_merged();
        self.last_number += u64::from(is_numbered);
        Key::new(signal, if is_numbered { self.last_number } else { 0 })
    }

    /// Ends what a user typed in a room before this event. Returns whether that is being delivered.
    fn end_typing(&mut self, room_id: RoomId, user: UserId, at: Seq) -> bool {
        let kind = discriminant(&SignalKind::Typing { room_id, parent_id: None, on: false });
        let key = Key { topic: Topic::Room(room_id), user, kind, number: 0 };
        if self.pending.get(&key).is_some_and(|pending| pending.signal.after < at) {
            self.pending.remove(&key);
        }
        self.typists.end(room_id, user, Some(at));
        self.delivering.is_some_and(|(delivering, after)| delivering == key && after < at)
    }

    /// Ends all signals of a user to a room that were sent before this event. Returns whether one is being delivered.
    fn end_all(&mut self, room_id: RoomId, user: UserId, at: Seq) -> bool {
        let is_ended = |key: &Key, after: Seq| key.topic == Topic::Room(room_id) && key.user == user && after < at;
        self.pending.retain(|key, pending| !is_ended(key, pending.signal.after));
        self.typists.end(room_id, user, Some(at));
        self.delivering.is_some_and(|(delivering, after)| is_ended(&delivering, after))
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        let dropped = |reason: &'static str| counter!("chatsphere_signals_dropped_total", "reason" => reason);
        let meters = Meters {
            received: counter!("chatsphere_signals_in_total"),
            sent: counter!("chatsphere_signals_out_total"),
            slow: dropped("slow_consumer"),
            behind: dropped("behind"),
            full: dropped("queue_full"),
        };
        Self {
            state: Mutex::default(),
            count: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            wake: Notify::new(),
            connections: OnceLock::new(),
            meters,
        }
    }

    /// Sets where connections of users are found. Only the first call has an effect.
    pub(crate) fn set_connections(&self, connections: Weak<dyn Connections>) {
        let _ = self.connections.set(connections);
    }

    /// Queues a signal, replacing an older one of the same key.
    pub(crate) fn push(&self, signal: Signal) {
        self.meters.received.increment(1);
        let mut state = self.state();
        let pending = Pending { key: state.key(&signal), signal, received: Instant::now() };
        if let Some(waiting) = state.pending.get_mut(&pending.key) {
            *waiting = pending;
        } else if self.has_place(&state) {
            state.queue.push_back(pending.key);
            self.put(&mut state, pending);
            self.wake.notify_one();
        }
    }

    /// Queues a signal again that must wait for events, unless a newer one is queued or an event has ended it. Returns whether
    /// to retry.
    fn put_back(&self, pending: Pending) -> bool {
        if pending.received + PATIENCE <= Instant::now() {
            self.meters.behind.increment(1);
            return false;
        }
        let mut state = self.state();
        if self.is_ended() {
            return false;
        }
        if state.pending.contains_key(&pending.key) {
            return true;
        }
        if !self.has_place(&state) {
            return false;
        }
        state.behind.push_back(pending.key);
        self.put(&mut state, pending);
        true
    }

    /// Whether there is room for another signal.
    fn has_place(&self, state: &State) -> bool {
        let has_place = state.queue.len() + state.behind.len() < MAX_PENDING;
        self.meters.full.increment(u64::from(!has_place));
        has_place
    }

    fn put(&self, state: &mut State, pending: Pending) {
        state.pending.insert(pending.key, pending);
        self.count(state);
    }

    /// Queues the signals that wait for events before all others. Returns how many are queued.
    fn begin_pass(&self) -> usize {
        let mut state = self.state();
        if !state.behind.is_empty() {
            let mut first = std::mem::take(&mut state.behind);
            first.append(&mut state.queue);
            state.queue = first;
        }
        state.queue.len()
    }

    fn pop(&self) -> Option<Pending> {
        let mut state = self.state();
        while let Some(key) = state.queue.pop_front() {
            if let Some(pending) = state.pending.remove(&key) {
                self.begin(&mut state, pending.key, pending.signal.after);
                return Some(pending);
            }
        }
        // Release the memory of a burst.
        state.queue = VecDeque::new();
        if state.behind.is_empty() {
            state.pending = HashMap::new();
        }
        None
    }

    /// Begins the delivery of a signal: from now on [`Signals::is_ended`] says whether an event has ended it.
    fn begin(&self, state: &mut State, key: Key, after: Seq) {
        state.delivering = Some((key, after));
        self.ended.store(false, Ordering::Release);
        self.count(state);
    }

    /// Ends the delivery of all signals.
    fn finish(&self) {
        let mut state = self.state();
        state.delivering = None;
        self.count(&state);
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether no signal is queued or being delivered, and nobody types.
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Ends the typing of users who posted a message, and all signals of users whose membership ended, at one of these events.
    /// What they sent after it goes on.
    pub(crate) fn end_obsolete(&self, events: &[Arc<Event>]) {
        if self.is_idle() {
            return;
        }
        let mut state = self.state();
        for event in events {
            let (room_id, at) = (event.room_id, event.seq);
            let is_delivering = match (event.departed(), event.message()) {
                (Some(user), _) => state.end_all(room_id, user, at),
                (None, Some(message)) => state.end_typing(room_id, message.author.id, at),
                (None, None) => continue,
            };
            if is_delivering {
                self.ended.store(true, Ordering::Release);
            }
        }
        self.count(&state);
    }

    /// Shows a new subscription who types in its room.
    pub(crate) fn joined(&self, room: RoomId, subscriber: &Arc<Subscriber>) {
        if self.is_idle() {
            return;
        }
        let mut state = self.state();
        let users = state.typists.named(room);
        if users.is_empty() {
            return;
        }
        if state.newcomers.len() >= MAX_PENDING {
            return self.meters.full.increment(1);
        }
        state.newcomers.push(Newcomer { room, subscriber: subscriber.clone(), since: Instant::now(), users });
        self.wake.notify_one();
    }

    /// Records that a user types, or has stopped, unless an event has ended that. Precedes the delivery: a subscription that
    /// the delivery misses finds the record.
    fn note(&self, room: RoomId, on: bool, pending: &Pending, counted: bool) {
        let mut state = self.state();
        if self.is_ended() {
            return;
        }
        if !on {
            state.typists.end(room, pending.signal.user.id, None);
        } else if !state.typists.begin(room, &pending.signal, pending.received, counted) && counted {
            self.meters.full.increment(1);
        }
        self.count(&state);
    }

    /// Begins to show a user who still types in this room.
    fn begin_showing(&self, room: RoomId, user: UserId) -> Option<Typist> {
        let mut state = self.state();
        let typist = state.typists.get(room, user, Instant::now())?;
        self.begin(&mut state, Key::new(&typist.signal, 0), typist.signal.after);
        Some(typist)
    }

    /// The number of users typing in each large room. A room is listed with zero once after the last one stopped.
    fn counts(&self) -> Vec<(RoomId, usize)> {
        let mut state = self.state();
        let counts = state.typists.counts(Instant::now());
        self.count(&state);
        counts
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state().pending.len()
    }

    fn has_typists(&self) -> bool {
        self.state().typists.rooms() > 0
    }

    fn count(&self, state: &State) {
        let delivering = usize::from(state.delivering.is_some());
        self.count.store(state.pending.len() + delivering + state.typists.rooms(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers a signal. Returns whether that is done; if not, it must wait for events.
    async fn deliver(&self, hub: &Hub, pending: &Pending) -> bool {
        let signal = &pending.signal;
        match signal.topic {
            Topic::Room(id) => {
                let Some(room) = hub.room(id) else { return true };
                if let SignalKind::Typing { on, .. } = signal.kind {
                    let is_large = room.subscribers() >= COUNTED_FROM;
                    self.note(id, on, pending, is_large);
                    if is_large {
                        return true;
                    }
                }
                let is_sent = self.send_signal(&room, signal, TYPING_EXPIRES, None).await != Outcome::Behind;
                if !is_sent {
                    hub.ask_for(&room, signal.after);
                }
                is_sent
            }
            Topic::User(user) => {
                let frame = wire::signal(signal, TYPING_EXPIRES).and_then(|frame| encode(&frame));
                let connections = self.connections.get().and_then(Weak::upgrade);
                if let Some((frame, connections)) = frame.zip(connections) {
                    for write_queue in connections.of_user(user) {
                        let meter =
                            if write_queue.send_if_current(frame.clone()) { &self.meters.sent } else { &self.meters.slow };
                        meter.increment(1);
                    }
                }
                true
            }
        }
    }

    /// Sends a signal that holds for `left` to all subscriptions of a room, or to one.
    async fn send_signal(&self, room: &Room, signal: &Signal, left: Duration, to: Option<ConnectionId>) -> Outcome {
        let Some(frame) = wire::signal(signal, left).and_then(|frame| encode(&frame)) else { return Outcome::Sent };
        let (except, after) = (signal.except(), signal.after);
        self.send(room, &RoomSignal { frame, except, to, after, ended: Some(&self.ended) }).await
    }

    /// Sends a frame to subscriptions of a room, some at a time.
    async fn send(&self, room: &Room, signal: &RoomSignal<'_>) -> Outcome {
        let (mut slot, mut outcome) = (usize::MAX, Outcome::Sent);
        loop {
            match room.signal(signal, &mut slot) {
                Signalled::Behind => return Outcome::Behind,
                Signalled::Sent { sent, dropped, more } => {
                    self.meters.sent.increment(sent);
                    if dropped > 0 {
                        outcome = Outcome::Dropped;
                    }
                    if signal.to.is_none() {
                        self.meters.slow.increment(dropped);
                    }
                    if !more {
                        return outcome;
                    }
                }
            }
            // Other tasks run between two parts.
            yield_now().await;
        }
    }

    /// Delivers what is queued. Returns whether some of it must be retried.
    async fn deliver_all(&self, hub: &Hub) -> bool {
        let again = self.deliver_queued(hub).await | self.welcome_all(hub).await;
        self.finish();
        again
    }

    async fn deliver_queued(&self, hub: &Hub) -> bool {
        let mut again = false;
        // A signal that waits for events delays the later ones of its user, so that they stay in order.
        let mut behind = HashSet::new();
        // Signals queued meanwhile wait for the next call, so that timers are served.
        for _ in 0..=self.begin_pass() {
            let Some(pending) = self.pop() else { break };
            let of_user = (pending.key.topic, pending.key.user);
            if behind.contains(&of_user) || !self.deliver(hub, &pending).await {
                behind.insert(of_user);
                again |= self.put_back(pending);
            }
            yield_now().await;
        }
        again
    }

    async fn welcome_all(&self, hub: &Hub) -> bool {
        let newcomers = std::mem::take(&mut self.state().newcomers);
        let mut again = false;
        for mut newcomer in newcomers {
            // It waits for events, or until the client has read the end of its replay.
            match self.welcome(hub, &mut newcomer).await {
                Outcome::Sent => {}
                Outcome::Dropped | Outcome::Behind if newcomer.since + PATIENCE > Instant::now() => {
                    again = true;
                    self.state().newcomers.push(newcomer);
                }
                Outcome::Dropped => self.meters.slow.increment(1),
                Outcome::Behind => self.meters.behind.increment(1),
            }
            yield_now().await;
        }
        again
    }

    /// Shows a new subscription who still types.
    async fn welcome(&self, hub: &Hub, newcomer: &mut Newcomer) -> Outcome {
        let Some(room) = hub.room(newcomer.room) else { return Outcome::Sent };
        if !newcomer.subscriber.write_queue.has_capacity() {
            return Outcome::Dropped;
        }
        while let Some(user) = newcomer.users.last() {
            if let Some(typist) = self.begin_showing(room.id, *user) {
                let left = typist.until.saturating_duration_since(Instant::now());
                let outcome = self.send_signal(&room, &typist.signal, left, Some(newcomer.subscriber.id)).await;
                if outcome != Outcome::Sent {
                    return outcome;
                }
            }
            newcomer.users.pop();
        }
        Outcome::Sent
    }

    async fn send_counts(&self, hub: &Hub) {
        for (room_id, count) in self.counts() {
            if let Some(room) = hub.room(room_id)
                && let Some(frame) = encode(&SignalFrame::TypingCount { room_id, count })
            {
                let signal = RoomSignal { frame, except: Except::Nobody, to: None, after: Seq::ZERO, ended: None };
                if self.send(&room, &signal).await == Outcome::Behind {
                    self.meters.behind.increment(1);
                }
            }
        }
    }
}

/// What became of a signal to a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Sent,
    /// A connection is behind with reading.
    Dropped,
    /// Events must come first.
    Behind,
}

/// Delivers a hub's signals. Runs for ever.
pub async fn run(hub: Arc<Hub>) {
    let signals = &hub.signals;
    let mut retry = None;
    let mut count_at = None;
    loop {
        let next = [retry, count_at].into_iter().flatten().min();
        tokio::select! {
            () = signals.wake.notified() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        let again = signals.deliver_all(&hub).await;
        retry = again.then(|| Instant::now() + RETRY);
        if count_at.is_some_and(|at| at <= Instant::now()) {
            signals.send_counts(&hub).await;
            count_at = None;
        }
        if count_at.is_none() && signals.has_typists() {
            count_at = Some(Instant::now() + COUNT_EVERY);
        }
    }
}

#[cfg(test)]
mod tests;
