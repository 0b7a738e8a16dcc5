//! A node's way to the others, without the rest of it.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::{
    CommitSink, Committed, Content, Epoch, Event, EventKind, ManualClock, Message, MessageId, RoomId, Seq, Timestamp, UserId,
    UserRef, Username,
};
use chatsphere_realtime::bus::Away;
use chatsphere_realtime::{Bus, BusKeys, BusStatus, Hub, HubTasks, Link, NatsOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::nats::PATIENCE;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

pub(crate) struct Node {
    pub(crate) status: Arc<BusStatus>,
    pub(crate) clock: Arc<ManualClock>,
    bus: Bus,
    heard: mpsc::UnboundedReceiver<Vec<Arc<Event>>>,
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
        let link = Link::new(options, keys, clock.clone()).unwrap();
        let status = link.status();
        let (hub, tasks) = Hub::new(1);
        let (bus, outbox) = Bus::clustered(Arc::new(hub), status.clone());
        let (tell, heard) = mpsc::unbounded_channel();
        let take = move |events| tell.send(events).unwrap_or_default();
        let task = tokio::spawn(link.run(Epoch::from_stored(epoch), outbox, take));
        Self { status, clock, bus, heard, task, _tasks: tasks }
    }

    /// Starts it and waits until the bus carries.
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
        timeout(PATIENCE, connected).await.unwrap_or_else(|_| panic!("away: {:?}", self.status.away()));
    }

    pub(crate) async fn is_away(&self, why: Away) {
        let away = async {
            while self.status.away() != Some(why) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, away).await.unwrap_or_else(|_| panic!("not {why} but {:?}", self.status.away()));
        assert!(!self.status.is_connected());
    }

    /// Commits messages of these contents.
    pub(crate) fn tell(&self, contents: &[&str]) {
        let events = contents.iter().map(|content| Arc::new(event(content))).collect();
        self.bus.committed(Committed { events, answers: Vec::new() });
    }

    /// The content of the next event that it takes.
    pub(crate) async fn hear(&mut self) -> Vec<String> {
        let events = timeout(PATIENCE, self.heard.recv()).await.expect("something is heard").unwrap();
        events.iter().map(|event| content(event)).collect()
    }

    pub(crate) fn stop(self) {
        self.task.abort();
    }
}

pub(crate) fn event(content: &str) -> Event {
    let (room_id, seq) = (RoomId::new(NOW), Seq::new(1));
    let message = Message {
        id: MessageId::new(NOW),
        room_id,
        author: UserRef { id: UserId::new(NOW), username: Username::from_stored("ada".to_owned()) },
        seq,
        content: Content::from_stored(content.to_owned()),
        client_message_id: None,
        created_at: NOW,
        updated_at: NOW,
    };
    Event { room_id, seq, at: NOW, kind: EventKind::Message(message) }
}

fn content(event: &Event) -> String {
    match &event.kind {
        EventKind::Message(message) => message.content.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}
