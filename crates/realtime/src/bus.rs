//! How nodes of one database tell each other of events: over NATS, as a hint.
//!
//! Core NATS delivers at most once and in no promised order between nodes. That is enough: the hub puts events in order, drops
//! what comes twice, and reads from the store what did not come. With NATS away nodes still find everything, later.

use std::sync::Arc;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event as NatsEvent, Message as NatsMessage, ServerAddr, Subject};
use bytes::Bytes;
use chatsphere_core::{CommitSink, Committed, ConnectionId, EncodedLen, Epoch, Event, Timestamp};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::gate::Gate;
use crate::hub::Hub;

/// What the nodes speak about events. A later, different format gets a subject of its own.
const SUBJECT: Subject = Subject::from_static("chatsphere.v1.events");
/// Commits that may wait to be told. Beyond it they are not told: other nodes find them in the store.
const WAITING: usize = 256;
/// Bytes of events as JSON that one message tells of, well below NATS' usual bound of 1 MiB.
const MOST_BYTES: usize = 512 * 1024;

/// Hands each commit to this node's hub, and to the other nodes if there are any.
pub struct Bus {
    hub: Arc<Hub>,
    others: Option<mpsc::Sender<Vec<Arc<Event>>>>,
}

impl Bus {
    /// For a node that is alone.
    pub fn local(hub: Arc<Hub>) -> Self {
        Self { hub, others: None }
    }

    /// For one of several nodes. What is to be told waits in `Outbox` until [`Link::run`].
    pub fn clustered(hub: Arc<Hub>) -> (Self, Outbox) {
        let (others, waiting) = mpsc::channel(WAITING);
        (Self { hub, others: Some(others) }, Outbox(waiting))
    }
}

impl CommitSink for Bus {
    fn committed(&self, batch: Committed) {
        if let Some(others) = &self.others
            && !batch.events.is_empty()
        {
            // A full outbox is a hint lost, and hints may be lost.
            let _ = others.try_send(batch.events.clone());
        }
        self.hub.committed(batch);
    }
}

/// Commits that wait to be told to other nodes.
pub struct Outbox(mpsc::Receiver<Vec<Arc<Event>>>);

/// A connection to NATS, which comes back by itself.
pub struct Link {
    client: Client,
    /// Names this node, so that it does not listen to itself.
    node: ConnectionId,
}

/// The address is none that NATS knows.
#[derive(Debug, thiserror::Error)]
#[error("NATS can't be used: {0}")]
pub struct LinkError(String);

/// What goes over the bus.
#[derive(Serialize, Deserialize)]
struct Told<E> {
    node: ConnectionId,
    epoch: Epoch,
    events: Vec<E>,
}

impl Link {
    /// Begins to connect. NATS may be away now and come later.
    ///
    /// # Errors
    /// If the address, its credentials or its TLS can't be used at all.
    pub async fn connect(url: &str, now: Timestamp) -> Result<Self, LinkError> {
        let servers: Result<Vec<ServerAddr>, _> = url.split(',').map(|server| server.trim().parse()).collect();
        let servers = servers.map_err(|error| LinkError(error.to_string()))?;
        let options = ConnectOptions::new().name("chatsphere").retry_on_initial_connect().event_callback(log);
        let client = options.connect(servers).await.map_err(|error| LinkError(error.to_string()))?;
        Ok(Self { client, node: ConnectionId::new(now) })
    }

    /// Tells other nodes what this one commits and hands what they tell to `hub`, unless `gate` is shut. Runs until the bus is
    /// dropped.
    pub async fn run(self, hub: Arc<Hub>, epoch: Epoch, outbox: Outbox, gate: Gate) {
        tokio::join!(self.listen(&hub, &epoch, &gate), self.tell(&epoch, outbox));
    }

    async fn tell(&self, epoch: &Epoch, Outbox(mut waiting): Outbox) {
        while let Some(events) = waiting.recv().await {
            if self.client.connection_state() != State::Connected {
                // When NATS is back, others have long found these in the store.
                continue;
            }
            for events in parts(&events) {
                let told =
                    Told { node: self.node, epoch: epoch.clone(), events: events.iter().map(|event| &**event).collect() };
                let Ok(payload) = serde_json::to_vec(&told) else { continue };
                if let Err(error) = self.client.publish(SUBJECT, payload.into()).await {
                    tracing::debug!(%error, "other nodes were not told of a commit");
                }
            }
        }
    }

    async fn listen(&self, hub: &Hub, epoch: &Epoch, gate: &Gate) {
        let mut told = match self.client.subscribe(SUBJECT).await {
            Ok(told) => told,
            Err(error) => return tracing::error!(%error, "this node can't listen to others over NATS"),
        };
        while let Some(NatsMessage { payload, .. }) = told.next().await {
            // A hint like any other: what is not taken now is read from the store when the gate is open again.
            if gate.is_open() {
                hub.publish(self.read(&payload, epoch));
            }
        }
    }

    /// The events that another node of the same database tells of.
    fn read(&self, payload: &Bytes, epoch: &Epoch) -> Vec<Arc<Event>> {
        match serde_json::from_slice::<Told<Event>>(payload) {
            Ok(told) if told.node != self.node && told.epoch == *epoch => told.events.into_iter().map(Arc::new).collect(),
            Ok(_) => Vec::new(),
            Err(error) => {
                // A newer node may know kinds of events that this one does not; the store tells what it can.
                tracing::debug!(%error, "another node told what this one can't read");
                Vec::new()
            }
        }
    }
}

async fn log(event: NatsEvent) {
    match event {
        NatsEvent::Connected => tracing::info!("connected to NATS"),
        NatsEvent::Disconnected => tracing::warn!("NATS is away: events of other nodes come within 2 s, from the store"),
        event => tracing::debug!(%event, "NATS"),
    }
}

/// Cuts a commit into parts that NATS carries.
fn parts(events: &[Arc<Event>]) -> Vec<&[Arc<Event>]> {
    let mut parts = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (place, event) in events.iter().enumerate() {
        let size = event.encoded_len();
        if bytes + size > MOST_BYTES && place > begin {
            parts.push(&events[begin..place]);
            (begin, bytes) = (place, 0);
        }
        bytes += size;
    }
    parts.push(&events[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use chatsphere_core::{Content, EventKind, Message, MessageId, RoomId, Seq, UserId, UserRef, Username};

    use super::*;

    fn event(seq: u64, bytes: usize) -> Arc<Event> {
        let at = Timestamp::from_millis(1_795_341_370_000);
        let (room_id, seq) = (RoomId::new(at), Seq::new(seq));
        let message = Message {
            id: MessageId::new(at),
            room_id,
            author: UserRef { id: UserId::new(at), username: Username::from_stored("ada".to_owned()) },
            seq,
            content: Content::from_stored("\u{1}".repeat(bytes)),
            client_message_id: None,
            created_at: at,
            updated_at: at,
        };
        Arc::new(Event { room_id, seq, at, kind: EventKind::Message(message) })
    }

    #[test]
    fn a_commit_is_told_whole_in_messages_that_nats_carries() {
        let events: Vec<_> = (1..=100).map(|seq| event(seq, 32 * 1024)).collect();
        let parts = parts(&events);
        assert_eq!(parts.concat(), events);
        for part in parts {
            let told =
                Told { node: ConnectionId::new(Timestamp::from_millis(1)), epoch: Epoch::random(), events: part.to_vec() };
            assert!(serde_json::to_vec(&told).unwrap().len() < 1024 * 1024);
        }
    }

    #[test]
    fn what_is_told_is_what_is_read() {
        let event = event(1, 10);
        let text = serde_json::to_string(&*event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), *event);
    }
}
