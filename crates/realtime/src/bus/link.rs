//! The link to NATS: connects, publishes, and reconnects after a failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use chatsphere_core::{Clock, ConnectionId, Epoch, Event, Signal};
use tokio::time::{Instant, sleep, timeout};

use super::BusMessage;
use super::connection::{Connection, SUBJECT_PREFIX};
use super::disconnect::{DisconnectReason, LinkError};
use super::inbox::Inbox;
use super::message::{EventEncoder, encode_signal};
use super::meters::Meters;
use super::options::{InvalidNats, NatsOptions};
use super::publish_queue::{PublishQueue, Queued};
use super::signing::{BusKeys, Signer, Verifier};
use super::status::{BusStatus, STABLE_AFTER};
use super::url::Server;
use crate::interest::{Interest, SubjectShard};

/// Timeout for connecting to one server, including the DNS lookup.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before all servers are tried again, doubled after each attempt up to `MAX_BACKOFF`.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(4);

/// A connection to NATS that is made again after each failure.
pub struct NatsLink {
    options: NatsOptions,
    keys: BusKeys,
    clock: Arc<dyn Clock>,
    /// The name of this node until it stops. A node ignores messages under its own name.
    node: ConnectionId,
    status: Arc<BusStatus>,
    meters: Meters,
}

impl NatsLink {
    /// A link for a cluster that shares `keys`. Does not connect yet.
    ///
    /// # Errors
    /// If a configured file or key is unusable.
    pub fn new(options: NatsOptions, keys: BusKeys, clock: Arc<dyn Clock>) -> Result<Self, InvalidNats> {
        options.check()?;
        let (node, status) = (ConnectionId::new(clock.now()), Arc::new(BusStatus::new()));
        Ok(Self { options, keys, clock, node, status, meters: Meters::register() })
    }

    /// The connection state.
    pub fn status(&self) -> Arc<BusStatus> {
        self.status.clone()
    }

    /// Publishes the queued commits and signals, and passes messages of shards in `interest` to `on_message`. Runs for ever,
    /// and keeps trying while NATS cannot be reached.
    pub async fn run(
        self,
        epoch: Epoch,
        mut publish_queue: PublishQueue,
        interest: Arc<Interest>,
        on_message: impl Fn(BusMessage),
    ) {
        let (keys, node) = (self.keys.clone(), self.node);
        let mut signers = Signers { keys, node, epoch: epoch.clone(), by_shard: HashMap::new() };
        let verifier = Verifier::new(self.keys.clone(), self.node, epoch);
        let mut inbox = Inbox::new(verifier, self.clock.clone(), self.meters.clone(), on_message);
        let mut backoff = MIN_BACKOFF;
        loop {
            let mut errors = Vec::new();
            for server in self.options.url.servers() {
                let started = Instant::now();
                let error = match self.connect(server).await {
                    Ok(connection) => {
                        self.use_until_failure(server, connection, &mut signers, &mut publish_queue, &interest, &mut inbox)
                            .await
                    }
                    Err(error) => error,
                };
                if started.elapsed() >= STABLE_AFTER {
                    backoff = MIN_BACKOFF;
                }
                // The loss of a working connection is reported at once, before the next server is tried.
                if self.status.is_connected() {
                    self.status.set_disconnected(&[(&*server.host_port, error.clone())]);
                }
                errors.push((&*server.host_port, error));
            }
            self.status.set_disconnected(&errors);
            sleep(backoff).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Connects to the first server that accepts this node, and returns its address. Used by `doctor`.
    ///
    /// # Errors
    /// The failure of the last server: the reason and a description.
    pub async fn check(self) -> Result<String, (DisconnectReason, String)> {
        let mut last = (DisconnectReason::Connecting, String::new());
        for server in self.options.url.servers() {
            let checked = match self.connect(server).await {
                Ok(mut connection) => connection.await_echo(&Interest::default(), &*self.clock).await,
                Err(error) => Err(error),
            };
            match checked {
                Ok(()) => return Ok(server.host_port.clone()),
                Err(LinkError { reason, description }) => last = (reason, format!("{}: {description}", server.host_port)),
            }
        }
        Err(last)
    }

    async fn connect(&self, server: &Server) -> Result<Connection, LinkError> {
        let unreadable = |error: std::io::Error| LinkError::new(DisconnectReason::Credentials, error.to_string());
        let (address, options) = self.options.for_server(server).await.map_err(unreadable)?;
        let connecting = Connection::open(address, options, self.node, self.keys.clone(), &self.meters);
        let late = |_| LinkError::new(DisconnectReason::TimedOut, "no answer in time");
        timeout(CONNECT_TIMEOUT, connecting).await.map_err(late)?
    }

    /// Uses an open connection until it fails; returns the failure.
    async fn use_until_failure(
        &self,
        server: &Server,
        mut connection: Connection,
        signers: &mut Signers,
        publish_queue: &mut PublishQueue,
        interest: &Interest,
        inbox: &mut Inbox<impl Fn(BusMessage)>,
    ) -> LinkError {
        if let Err(error) = connection.await_echo(interest, &*self.clock).await {
            return error;
        }
        // Commits queued since the connection failed have been read from the store meanwhile.
        self.meters.disconnected.increment(publish_queue.clear());
        self.status.set_connected(&server.host_port);
        let client = connection.client.clone();
        tokio::select! {
            error = connection.receive(interest, inbox, &*self.clock) => error,
            error = self.publish_queued(&client, signers, publish_queue) => error,
        }
    }

    async fn publish_queued(&self, client: &Client, signers: &mut Signers, publish_queue: &mut PublishQueue) -> LinkError {
        while let Some(queued) = publish_queue.next().await {
            let published = match queued {
                Queued::Commit { events, .. } => self.publish_events(client, signers, events).await,
                Queued::Signal(signal) => self.publish_signal(client, signers.of(SubjectShard::of(signal.topic)), signal).await,
            };
            if let Err(error) = published {
                return error;
            }
        }
        // This node no longer commits, but still receives messages.
        std::future::pending().await
    }

    async fn publish_events(
        &self,
        client: &Client,
        signers: &mut Signers,
        mut events: Vec<Arc<Event>>,
    ) -> Result<(), LinkError> {
        let shard = |event: &Arc<Event>| SubjectShard::of_room(event.room_id);
        // A stable sort keeps the order within a room.
        events.sort_by_key(shard);
        for events in events.chunk_by(|one, next| shard(one) == shard(next)) {
            let Some(signer) = events.first().map(|event| signers.of(shard(event))) else { continue };
            let mut encoder = EventEncoder::new(events);
            while let Some(message) = encoder.next(signer, client.max_payload(), self.clock.now()) {
                self.publish(client, signer, message).await?;
            }
            self.meters.too_large.increment(encoder.too_large);
        }
        Ok(())
    }

    async fn publish_signal(&self, client: &Client, signer: &mut Signer, signal: Signal) -> Result<(), LinkError> {
        match encode_signal(signal, signer, client.max_payload(), self.clock.now()) {
            Some(message) => self.publish(client, signer, message).await,
            None => {
                self.meters.too_large.increment(1);
                Ok(())
            }
        }
    }

    async fn publish(&self, client: &Client, signer: &Signer, message: Bytes) -> Result<(), LinkError> {
        client.publish(signer.subject.clone(), message).await.map_err(|error| LinkError::lost(&error))?;
        self.meters.sent.increment(1);
        Ok(())
    }
}

/// The signers of this node, one per shard that it has published to. They outlive a connection, because a signer numbers
/// its messages.
struct Signers {
    keys: BusKeys,
    node: ConnectionId,
    epoch: Epoch,
    by_shard: HashMap<SubjectShard, Signer>,
}

impl Signers {
    fn of(&mut self, shard: SubjectShard) -> &mut Signer {
        let new = || Signer::new(self.keys.clone(), self.node, self.epoch.clone(), shard.subject(SUBJECT_PREFIX).into());
        self.by_shard.entry(shard).or_insert_with(new)
    }
}
