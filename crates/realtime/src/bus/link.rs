//! The connection to NATS: made, watched, and made again.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Event as NatsEvent, Message, Subject, Subscriber};
use bytes::Bytes;
use chatsphere_core::{Clock, ConnectionId, Epoch, Event};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Outbox;
use super::meters::Meters;
use super::options::{InvalidNats, NatsOptions, Server};
use super::parts::Parts;
use super::replay::Stale;
use super::seal::{BusKeys, Opener, Refused, Sealer};
use super::status::{Away, BusStatus, GOOD, Trouble};

/// What the nodes speak about events. A later, different format gets a subject of its own.
const SUBJECT: Subject = Subject::from_static("chatsphere.v2.events");
/// How long connecting to one server may take, looking up its name included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a message to oneself may take to come back.
const ECHO: Duration = Duration::from_secs(5);
/// How long to wait before the servers are tried again: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How often the log is told of messages that were dropped for the same reason.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// What the library tells of a connection, as far as it was not read yet.
const NEWS: usize = 64;

/// A connection to NATS, which comes back by itself.
pub struct Link {
    options: NatsOptions,
    keys: BusKeys,
    clock: Arc<dyn Clock>,
    /// Names this node until it stops, so that it does not listen to itself.
    node: ConnectionId,
    status: Arc<BusStatus>,
    meters: Meters,
}

impl Link {
    /// For a cluster that shares `keys`. Connects to nothing yet.
    ///
    /// # Errors
    /// If a file or a key can't be used at all.
    pub fn new(options: NatsOptions, keys: BusKeys, clock: Arc<dyn Clock>) -> Result<Self, InvalidNats> {
        options.check()?;
        let (node, status) = (ConnectionId::new(clock.now()), Arc::new(BusStatus::new()));
        Ok(Self { options, keys, clock, node, status, meters: Meters::register() })
    }

    /// Whether it is connected.
    pub fn status(&self) -> Arc<BusStatus> {
        self.status.clone()
    }

    /// Tells other nodes what this one commits, and gives what they tell to `take`. Runs for ever: NATS may be away, and come later.
    pub async fn run(self, epoch: Epoch, mut outbox: Outbox, take: impl Fn(Vec<Arc<Event>>)) {
        let mut sealer = Sealer::new(self.keys.clone(), self.node, epoch.clone());
        let mut inbox = Inbox {
            opener: Opener::new(self.keys.clone(), self.node, epoch),
            clock: self.clock.clone(),
            meters: self.meters.clone(),
            told: Vec::new(),
            take,
        };
        let mut wait = FIRST_WAIT;
        loop {
            let mut troubles = Vec::new();
            for server in self.options.url.servers() {
                let begun = Instant::now();
                let trouble = match self.connect(server).await {
                    Ok(open) => self.serve(server, open, &mut sealer, &mut outbox, &mut inbox).await,
                    Err(trouble) => trouble,
                };
                if begun.elapsed() >= GOOD {
                    wait = FIRST_WAIT;
                }
                // A connection that was there is told of at once, before the next server is tried.
                if self.status.is_connected() {
                    self.status.lost(&[(&*server.place, trouble.clone())]);
                }
                troubles.push((&*server.place, trouble));
            }
            self.status.lost(&troubles);
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Connects to the first server that takes this node, and answers where that is. For whoever looks the configuration over.
    ///
    /// # Errors
    /// What is wrong with the last server, and the word for it.
    pub async fn probe(self) -> Result<String, (Away, String)> {
        let mut sealer = Sealer::of_probe(self.keys.clone());
        let mut last = (Away::Connecting, String::new());
        for server in self.options.url.servers() {
            let tried = match self.connect(server).await {
                Ok(mut open) => open.hear_oneself(&mut sealer, &*self.clock).await,
                Err(trouble) => Err(trouble),
            };
            match tried {
                Ok(()) => return Ok(server.place.clone()),
                Err(Trouble { away, what }) => last = (away, format!("{}: {what}", server.place)),
            }
        }
        Err(last)
    }

    async fn connect(&self, server: &Server) -> Result<Open, Trouble> {
        let unreadable = |error: std::io::Error| Trouble::new(Away::Credentials, error.to_string());
        let (address, options) = self.options.connect_to(server).await.map_err(unreadable)?;
        let (tell, news) = mpsc::channel(NEWS);
        let slow = self.meters.slow.clone();
        let options = options.event_callback(move |event| {
            if let NatsEvent::SlowConsumer(_) = event {
                slow.increment(1);
            } else {
                // Full of news that nobody waits for: the first one was enough.
                let _ = tell.try_send(event);
            }
            async {}
        });
        let connecting = async {
            let client = options.connect(address).await?;
            let messages = client.subscribe(SUBJECT).await.map_err(|error| Trouble::new(Away::Lost, error.to_string()))?;
            Ok(Open { client, messages, news })
        };
        let late = |_| Trouble::new(Away::TimedOut, "no answer in time");
        timeout(CONNECT, connecting).await.map_err(late)?
    }

    /// Until the connection is of no more use; answers why.
    async fn serve(
        &self,
        server: &Server,
        mut open: Open,
        sealer: &mut Sealer,
        outbox: &mut Outbox,
        inbox: &mut Inbox<impl Fn(Vec<Arc<Event>>)>,
    ) -> Trouble {
        if let Err(trouble) = open.hear_oneself(sealer, &*self.clock).await {
            return trouble;
        }
        // What waited since the bus went away has long been found in the store.
        self.meters.away.increment(outbox.clear());
        self.status.connected(&server.place);
        let Open { client, messages, news } = &mut open;
        tokio::select! {
            trouble = watch(news) => trouble,
            trouble = inbox.listen(messages) => trouble,
            trouble = self.tell(client, sealer, outbox) => trouble,
        }
    }

    async fn tell(&self, client: &Client, sealer: &mut Sealer, outbox: &mut Outbox) -> Trouble {
        while let Some(events) = outbox.next().await {
            let mut parts = Parts::of(&events);
            while let Some(message) = parts.next(sealer, client.max_payload(), self.clock.now()) {
                if let Err(error) = client.publish(SUBJECT, message).await {
                    return Trouble::new(Away::Lost, error.to_string());
                }
                self.meters.sent.increment(1);
            }
            self.meters.too_large.increment(parts.too_large);
        }
        // Nobody is left who commits; there may be others to listen to.
        std::future::pending().await
    }
}

/// A connection, and what comes over it.
struct Open {
    client: Client,
    messages: Subscriber,
    news: mpsc::Receiver<NatsEvent>,
}

impl Open {
    /// Waits for a message to oneself: then this node may publish and subscribe, and both work.
    async fn hear_oneself(&mut self, sealer: &mut Sealer, clock: &dyn Clock) -> Result<(), Trouble> {
        let mut message = sealer.begin();
        message.extend_from_slice(b"[]");
        let message: Bytes = sealer.finish(message, clock.now());
        let lost = |error: &dyn std::fmt::Display| Trouble::new(Away::Lost, error.to_string());
        self.client.publish(SUBJECT, message.clone()).await.map_err(|error| lost(&error))?;
        let messages = &mut self.messages;
        let echo = async {
            while let Some(Message { payload, .. }) = messages.next().await {
                if payload == message {
                    return Ok(());
                }
            }
            Err(lost(&"the connection ended"))
        };
        tokio::select! {
            // What the server says is a better reason than that the connection ended.
            biased;
            trouble = watch(&mut self.news) => Err(trouble),
            heard = timeout(ECHO, echo) => heard.unwrap_or_else(|_| {
                Err(Trouble::new(Away::Forbidden, "a message to chatsphere.v2.events does not come back"))
            }),
        }
    }
}

/// Until the library tells of something that makes a connection useless.
async fn watch(news: &mut mpsc::Receiver<NatsEvent>) -> Trouble {
    while let Some(event) = news.recv().await {
        match event {
            NatsEvent::ServerError(error) => {
                if let Some(trouble) = Trouble::of_server(&error) {
                    return trouble;
                }
                tracing::debug!(%error, "NATS");
            }
            NatsEvent::Disconnected | NatsEvent::Closed => return Trouble::new(Away::Lost, "the connection ended"),
            NatsEvent::LameDuckMode => return Trouble::new(Away::Lost, "the server is about to stop"),
            event => tracing::debug!(%event, "NATS"),
        }
    }
    Trouble::new(Away::Lost, "the connection ended")
}

/// Takes what other nodes tell.
struct Inbox<Take> {
    opener: Opener,
    clock: Arc<dyn Clock>,
    meters: Meters,
    /// Of which kinds of dropped messages the log was told, and when.
    told: Vec<(&'static str, Instant)>,
    take: Take,
}

impl<Take: Fn(Vec<Arc<Event>>)> Inbox<Take> {
    async fn listen(&mut self, messages: &mut Subscriber) -> Trouble {
        while let Some(Message { payload, .. }) = messages.next().await {
            match self.opener.open(&payload, self.clock.now()) {
                Ok(body) => self.read(body),
                Err(Refused::Own) => {}
                Err(refused) => self.drop(refused),
            }
        }
        Trouble::new(Away::Lost, "the connection ended")
    }

    fn read(&mut self, body: &[u8]) {
        self.meters.received.increment(1);
        match serde_json::from_slice::<Vec<Event>>(body) {
            Ok(events) if events.is_empty() => {}
            Ok(events) => (self.take)(events.into_iter().map(Arc::new).collect()),
            Err(error) => {
                // A newer node may know kinds of events that this one does not; the store tells what it can.
                self.meters.unreadable.increment(1);
                tracing::debug!(%error, "another node told what this one can't read");
            }
        }
    }

    fn drop(&mut self, refused: Refused) {
        let (meter, why) = match refused {
            Refused::Own => return,
            Refused::Unreadable => (
                &self.meters.unreadable,
                "it is in no form that this version knows: somebody else publishes on chatsphere.v2.events",
            ),
            Refused::OtherEpoch => (
                &self.meters.epoch,
                "it is of another installation, or of a node that runs since before a restore: restart that node",
            ),
            Refused::Unverified => (
                &self.meters.unverified,
                "it is not signed with this cluster's secrets: a node has others than this one, or somebody forges messages",
            ),
            Refused::Stale(Stale::Replayed) => (&self.meters.replayed, "it was here before: somebody plays old messages again"),
            Refused::Stale(Stale::Clock(_)) => {
                (&self.meters.clock, "it is of a node not heard before, and not of now: set the clocks of all nodes (NTP)")
            }
        };
        meter.increment(1);
        let now = Instant::now();
        let told = self.told.iter().any(|(told, at)| *told == why && now - *at < TELL_AGAIN);
        if !told {
            self.told.retain(|(told, _)| *told != why);
            self.told.push((why, now));
            let clock_ahead_ms = if let Refused::Stale(Stale::Clock(ahead)) = refused { Some(ahead) } else { None };
            tracing::warn!(clock_ahead_ms, "a message on the bus was dropped, and so are others like it: {why}");
        }
    }
}
