//! Ephemeral traffic: delivers signals, such as typing, to the connections of this node.
//!
//! Signals wait in one queue, merged by topic, user and kind. A task of their own delivers them beside the fan-out of events.
//! They are dropped first under pressure: new ones while the queue is full, and those for a connection whose write queue is
//! over its high watermark. Events remove signals that they make obsolete: the message of a user ends that user's typing.

use std::collections::{HashMap, VecDeque};
use std::mem::{Discriminant, discriminant};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use chatsphere_core::signal::TYPING_EXPIRES;
use chatsphere_core::{RoomId, Seq, Signal, SignalKind, Topic, UserId};
use chatsphere_protocol::frames::ServerFrame;
use metrics::{Counter, counter};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::frame::encode;
use crate::hub::Hub;
use crate::room::{Room, Signalled};
use crate::wire;
use crate::write_queue::WriteQueue;

/// Maximum number of queued signals.
const MAX_PENDING: usize = 4_096;
/// Maximum number of users typing in large rooms, over all rooms.
const MAX_TYPISTS: usize = 16_384;
/// From this many subscribed connections on, a room gets the number of users typing instead of their names.
#[cfg(not(test))]
const LARGE: usize = 201;
#[cfg(test)]
const LARGE: usize = 4;
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
type Key = (Topic, UserId, Discriminant<SignalKind>);

/// The queued signals of one node.
pub(crate) struct Signals {
    state: Mutex<State>,
    /// The number of entries in `state`. While nobody types, commits read only this.
    count: AtomicUsize,
    wake: Notify,
    connections: OnceLock<Weak<dyn Connections>>,
    meters: Meters,
}

#[derive(Default)]
struct State {
    pending: HashMap<Key, Pending>,
    queue: VecDeque<Key>,
    /// Who types in large rooms, and when each entry expires.
    typists: HashMap<RoomId, HashMap<UserId, Instant>>,
}

struct Pending {
    signal: Signal,
    until: Instant,
}

struct Meters {
    received: Counter,
    sent: Counter,
    slow: Counter,
    behind: Counter,
    full: Counter,
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
        Self { state: Mutex::default(), count: AtomicUsize::new(0), wake: Notify::new(), connections: OnceLock::new(), meters }
    }

    /// Sets where connections of users are found. Only the first call has an effect.
    pub(crate) fn set_connections(&self, connections: Weak<dyn Connections>) {
        let _ = self.connections.set(connections);
    }

    /// Queues a signal, replacing an older one of the same key.
    pub(crate) fn push(&self, signal: Signal) {
        self.meters.received.increment(1);
        let until = Instant::now() + PATIENCE;
        if self.put(Pending { signal, until }, true) {
            self.wake.notify_one();
        }
    }

    /// Queues a signal; a retried one (`replaces` is false) yields to a newer one. Returns whether the key is new.
    fn put(&self, pending: Pending, replaces: bool) -> bool {
        let key = (pending.signal.topic, pending.signal.user.id, discriminant(&pending.signal.kind));
        let mut state = self.state();
        if let Some(waiting) = state.pending.get_mut(&key) {
            if replaces {
                *waiting = pending;
            }
            return false;
        }
        if state.queue.len() >= MAX_PENDING {
            self.meters.full.increment(1);
            return false;
        }
        state.pending.insert(key, pending);
        state.queue.push_back(key);
        self.count(&state);
        true
    }

    fn pop(&self) -> Option<Pending> {
        let mut state = self.state();
        while let Some(key) = state.queue.pop_front() {
            if let Some(pending) = state.pending.remove(&key) {
                self.count(&state);
                return Some(pending);
            }
        }
        // Release the memory of a burst.
        (state.pending, state.queue) = Default::default();
        None
    }

    /// Whether no signal is queued and nobody types in a large room.
    pub(crate) fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Ends the typing of a user whose message was stored in the room, or whose membership ended.
    pub(crate) fn end_typing(&self, room_id: RoomId, user: UserId) {
        if self.is_idle() {
            return;
        }
        let kind = SignalKind::Typing { room_id, parent_id: None, on: false };
        let mut state = self.state();
        state.pending.remove(&(Topic::Room(room_id), user, discriminant(&kind)));
        if let Some(typists) = state.typists.get_mut(&room_id) {
            typists.remove(&user);
        }
        self.count(&state);
    }

    /// Records that a user types, or stopped, in a large room.
    fn note_typist(&self, room: RoomId, user: UserId, on: bool) {
        let mut state = self.state();
        if !on {
            if let Some(typists) = state.typists.get_mut(&room) {
                typists.remove(&user);
            }
        } else if state.typists.values().map(HashMap::len).sum::<usize>() < MAX_TYPISTS {
            state.typists.entry(room).or_default().insert(user, Instant::now() + TYPING_EXPIRES);
        } else {
            self.meters.full.increment(1);
        }
        self.count(&state);
    }

    /// The number of users typing in each large room. A room is listed with zero once after the last one stopped.
    fn counts(&self) -> Vec<(RoomId, usize)> {
        let mut state = self.state();
        let now = Instant::now();
        let counts = state.typists.iter_mut().map(|(room, typists)| {
            typists.retain(|_, until| *until > now);
            (*room, typists.len())
        });
        let counts = counts.collect();
        state.typists.retain(|_, typists| !typists.is_empty());
        self.count(&state);
        counts
    }

    fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    fn has_typists(&self) -> bool {
        !self.state().typists.is_empty()
    }

    fn count(&self, state: &State) {
        self.count.store(state.pending.len() + state.typists.len(), Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers a signal; returns it if it must wait for events.
    async fn deliver(&self, hub: &Hub, pending: Pending) -> Option<Pending> {
        let signal = &pending.signal;
        match (signal.topic, &signal.kind) {
            (Topic::Room(id), kind) => {
                let room = hub.room(id)?;
                if let SignalKind::Typing { on, .. } = kind
                    && room.subscribers() >= LARGE
                {
                    self.note_typist(id, signal.user.id, *on);
                    return None;
                }
                let frame = encode(&wire::signal(signal)?)?;
                if self.send(&room, &frame, Some(signal.user.id), signal.after).await {
                    return None;
                }
                hub.ask_for(&room, signal.after);
                Some(pending)
            }
            (Topic::User(user), _) => {
                let frame = encode(&wire::signal(signal)?)?;
                let connections = self.connections.get().and_then(Weak::upgrade)?.of_user(user);
                for write_queue in connections {
                    let meter = if write_queue.send_if_current(frame.clone()) { &self.meters.sent } else { &self.meters.slow };
                    meter.increment(1);
                }
                None
            }
        }
    }

    /// Sends a frame to all subscriptions of a room except those of one user, some at a time. `false` if events must come
    /// first.
    async fn send(&self, room: &Room, frame: &Bytes, except: Option<UserId>, after: Seq) -> bool {
        let mut place = 0;
        loop {
            match room.signal(frame, except, after, &mut place) {
                Signalled::Behind => return false,
                Signalled::Sent { sent, dropped, more } => {
                    self.meters.sent.increment(sent);
                    self.meters.slow.increment(dropped);
                    if !more {
                        return true;
                    }
                }
            }
            // Other tasks run between two parts.
            yield_now().await;
        }
    }

    /// Delivers the queued signals. Returns whether some must be retried.
    async fn deliver_all(&self, hub: &Hub) -> bool {
        let mut held = Vec::new();
        // Signals queued meanwhile wait for the next call, so that timers are served.
        for _ in 0..=self.waiting() {
            let Some(pending) = self.pop() else { break };
            held.extend(self.deliver(hub, pending).await);
            yield_now().await;
        }
        let now = Instant::now();
        let mut again = false;
        for pending in held {
            if pending.until > now {
                again = true;
                self.put(pending, false);
            } else {
                self.meters.behind.increment(1);
            }
        }
        again
    }

    async fn send_counts(&self, hub: &Hub) {
        for (room_id, count) in self.counts() {
            if let Some(room) = hub.room(room_id)
                && let Some(frame) = encode(&ServerFrame::TypingCount { room_id, count })
                && !self.send(&room, &frame, None, Seq::ZERO).await
            {
                self.meters.behind.increment(1);
            }
        }
    }
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
