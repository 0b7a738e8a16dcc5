//! The bus end of a node, without the rest of the server.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{
    CommitSink, Committed, Content, Epoch, Event, EventKind, ManualClock, Message, MessageId, RoomId, Seq, Signal, SignalSink,
    Timestamp, Topic, UserId, UserRef, Username,
};
use chatsphere_realtime::bus::DisconnectReason;
use chatsphere_realtime::{Bus, BusKeys, BusMessage, BusStatus, Hub, HubTasks, NatsLink, NatsOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::nats::PATIENCE;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

pub(crate) struct Node {
    pub(crate) status: Arc<BusStatus>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) hub: Arc<Hub>,
    bus: Bus,
    received: mpsc::UnboundedReceiver<BusMessage>,
    task: JoinHandle<()>,
    _tasks: HubTasks,
}

/// The secrets of the cluster.
pub(crate) fn keys() -> BusKeys {
    BusKeys::derive(&[b"user"], &[b"client"])
}

pub(crate) fn options(url: &str) -> NatsOptions {
    NatsOptions::new(url.parse().unwrap())
}

impl Node {
    pub(crate) fn start(options: NatsOptions) -> Self {
        Self::start_with(options, keys(), "epoch")
    }

    pub(crate) fn start_with(options: NatsOptions, keys: BusKeys, epoch: &str) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let link = NatsLink::new(options, keys, clock.clone()).unwrap();
        let status = link.status();
        let (hub, tasks) = Hub::new(1);
        let hub = Arc::new(hub);
        // The interest of a node with a client that has joined.
        hub.interest.add(Topic::Room(room(0)));
        let (bus, publish_queue) = Bus::clustered(hub.clone(), status.clone());
        let (sender, received) = mpsc::unbounded_channel();
        let on_message = move |message| sender.send(message).unwrap_or_default();
        let task = tokio::spawn(link.run(Epoch::from_stored(epoch), publish_queue, hub.interest.clone(), on_message));
        Self { status, clock, hub, bus, received, task, _tasks: tasks }
    }

    /// Starts a node and waits until the bus is connected.
    pub(crate) async fn connected(options: NatsOptions) -> Self {
        let node = Self::start(options);
        node.is_connected().await;
        node
    }

    pub(crate) async fn is_connected(&self) {
        let connected = async {
            while !self.status.is_connected() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, connected).await.unwrap_or_else(|_| panic!("disconnected: {:?}", self.status.disconnect_reason()));
    }

    pub(crate) async fn is_disconnected(&self, why: DisconnectReason) {
        let disconnected = async {
            while self.status.disconnect_reason() != Some(why) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, disconnected).await.unwrap_or_else(|_| panic!("not {why} but {:?}", self.status.disconnect_reason()));
        assert!(!self.status.is_connected());
    }

    /// Commits messages with these contents.
    pub(crate) fn commit(&self, contents: &[&str]) {
        self.commit_events(contents.iter().map(|content| event(content)));
    }

    /// Commits these events.
    pub(crate) fn commit_events(&self, events: impl IntoIterator<Item = Event>) {
        self.bus.committed(Committed { events: events.into_iter().map(Arc::new).collect(), acks: Vec::new() });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.bus.signal(signal);
    }

    /// The contents of the next received message.
    pub(crate) async fn receive(&mut self) -> Vec<String> {
        match self.receive_any().await {
            BusMessage::Events(events) => events.iter().map(content).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn receive_any(&mut self) -> BusMessage {
        timeout(PATIENCE, self.received.recv()).await.expect("a message is received").unwrap()
    }

    /// A message that was received already.
    pub(crate) fn try_receive(&mut self) -> Option<BusMessage> {
        self.received.try_recv().ok()
    }

    pub(crate) fn stop(self) {
        self.task.abort();
    }
}

/// A room in the shard of this number.
pub(crate) fn room(shard: u8) -> RoomId {
    let mut id = *RoomId::new(NOW).as_bytes();
    id[15] = shard;
    RoomId::from_bytes(id)
}

pub(crate) fn event(content: &str) -> Event {
    event_in(room(0), content)
}

pub(crate) fn event_in(room_id: RoomId, content: &str) -> Event {
    let seq = Seq::new(1);
    let message = Message {
        id: MessageId::new(NOW),
        room_id,
        author: UserRef { id: UserId::new(NOW), username: Username::from_stored("ada".to_owned()) },
        seq,
        content: Content::from_stored(content.to_owned()),
        client_message_id: None,
        created_at: NOW,
        updated_at: NOW,
        details: None,
    };
    Event { room_id, seq, at: NOW, kind: EventKind::Message(message) }
}

fn content(event: &Event) -> String {
    match &event.kind {
        EventKind::Message(message) => message.content.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}
