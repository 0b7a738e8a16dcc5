//! Who listens where on this node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chatsphere_core::{Access, CommitSink, Committed, Event, RoomId};
use tokio::sync::mpsc;

use crate::listener::Listener;
#[cfg(test)]
use crate::room::Fault;
use crate::room::Room;

/// Events that may wait for one lane of the fan-out. Beyond it they are dropped: rooms compare themselves with the store.
const LANE: usize = 8_192;
/// Events of one lane handed out in one go.
const GO: usize = 256;

/// The rooms that somebody on this node listens to.
pub struct Hub {
    rooms: Mutex<HashMap<RoomId, Arc<Room>>>,
    lanes: Vec<mpsc::Sender<Arc<Event>>>,
    gaps: mpsc::UnboundedSender<RoomId>,
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

/// What a hub needs to run: to be given to [`Hub::run_lane`] and [`crate::repair::run`], each as a task of its own.
pub struct HubTasks {
    /// One receiver for each lane of the fan-out.
    pub lanes: Vec<mpsc::Receiver<Arc<Event>>>,
    /// Rooms in which a gap was seen. Each is in here once at most.
    pub gaps: mpsc::UnboundedReceiver<RoomId>,
}

impl Hub {
    /// A hub whose fan-out runs in `lanes` tasks. A room stays in its lane, which keeps its order.
    pub fn new(lanes: usize) -> (Self, HubTasks) {
        let (senders, receivers) = (0..lanes.max(1)).map(|_| mpsc::channel(LANE)).unzip();
        let (gaps, gaps_receiver) = mpsc::unbounded_channel();
        let hub = Self {
            rooms: Mutex::default(),
            lanes: senders,
            gaps,
            #[cfg(test)]
            fault: None,
        };
        (hub, HubTasks { lanes: receivers, gaps: gaps_receiver })
    }

    /// Hands out what comes in one lane, until the hub is dropped.
    pub async fn run_lane(&self, mut lane: mpsc::Receiver<Arc<Event>>) {
        let mut events = Vec::with_capacity(GO);
        while lane.recv_many(&mut events, GO).await > 0 {
            self.publish(&events);
            events.clear();
            // One lane's flood must not keep a worker from everything else.
            tokio::task::yield_now().await;
        }
    }

    /// Hands events to the rooms that somebody listens to. Several of one room go out together.
    pub fn publish(&self, events: &[Arc<Event>]) {
        let mut rest = events;
        while let Some(first) = rest.first() {
            let run = rest.iter().position(|event| event.room_id != first.room_id).unwrap_or(rest.len());
            self.publish_to(first.room_id, &rest[..run]);
            rest = &rest[run..];
        }
    }

    pub(crate) fn publish_to(&self, id: RoomId, events: &[Arc<Event>]) {
        let Some(room) = self.room(id) else { return };
        let gap = room.accept(
            events,
            #[cfg(test)]
            self.fault,
        );
        if gap {
            // The receiver is gone only while the node stops.
            let _ = self.gaps.send(id);
        }
    }

    /// The connection no longer listens to the room. Nothing of the room is sent to it after this returns. Answers whether it
    /// did listen.
    pub fn leave(&self, listener: &Listener, room: RoomId) -> bool {
        let left = self.room(room).is_some_and(|room| room.unseat(listener.id));
        self.tidy(room);
        left
    }

    /// The connection ended.
    pub fn disconnect(&self, listener: &Listener) {
        listener.set_gone();
        for room in listener.rooms() {
            self.leave(listener, room);
        }
    }

    /// The connection goes on listening to the room, with other eyes.
    pub fn set_access(&self, listener: &Listener, room: RoomId, access: Access) {
        if let Some(room) = self.room(room) {
            room.set_access(listener.id, access);
        }
    }

    /// How many rooms somebody listens to.
    pub fn room_count(&self) -> usize {
        self.rooms().len()
    }

    pub(crate) fn room(&self, id: RoomId) -> Option<Arc<Room>> {
        self.rooms().get(&id).cloned()
    }

    pub(crate) fn room_ids(&self) -> Vec<RoomId> {
        self.rooms().keys().copied().collect()
    }

    /// Holds a room in the hub, so that from now on what happens in it is kept.
    pub(crate) fn pin(&self, id: RoomId) -> Pin<'_> {
        let mut rooms = self.rooms();
        let room = rooms.entry(id).or_insert_with(|| Arc::new(Room::new(id)));
        if !room.pin() {
            let fresh = Arc::new(Room::new(id));
            fresh.pin();
            *room = fresh;
        }
        Pin { hub: self, room: room.clone() }
    }

    fn tidy(&self, id: RoomId) {
        let mut rooms = self.rooms();
        if rooms.get(&id).is_some_and(|room| room.forget_if_unused()) {
            rooms.remove(&id);
        }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommitSink for Hub {
    fn committed(&self, batch: Committed) {
        metrics::counter!("chatsphere_events_in_total").increment(batch.events.len() as u64);
        for event in batch.events {
            let lane = event.room_id.as_bytes()[15] as usize % self.lanes.len();
            // A full lane is a hint lost: the room's next event shows the gap, or its comparison with the store does.
            let _ = self.lanes[lane].try_send(event);
        }
    }
}

/// A room held in the hub.
pub(crate) struct Pin<'a> {
    hub: &'a Hub,
    pub(crate) room: Arc<Room>,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.room.unpin();
        self.hub.tidy(self.room.id);
    }
}
