//! The connection to NATS: connects, subscribes, publishes, and reconnects after a failure.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Event as NatsEvent, Message, Subject, Subscriber};
use bytes::Bytes;
use chatsphere_core::{Clock, ConnectionId, Epoch, Event, Signal};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::meters::Meters;
use super::options::{InvalidNats, NatsOptions, Server};
use super::parts::{self, Parts};
use super::replay::Stale;
use super::seal::{BusKeys, Opened, Opener, Refused, Sealer};
use super::status::{Away, BusStatus, GOOD, Trouble};
use super::{BusMessage, PublishQueue, Waiting};
use crate::interest::{Interest, Shard};

/// The prefix of all subjects: `room.00` to `room.ff`, `user.00` to `user.ff`, and `node.<name>`, which a node uses to send
/// itself echoes. An incompatible format gets a prefix of its own.
const BASE: &str = "chatsphere.v3";
/// Timeout for connecting to one server, including the DNS lookup.
const CONNECT: Duration = Duration::from_secs(10);
/// Timeout for the echo of a node's message to itself.
const ECHO: Duration = Duration::from_secs(5);
/// How long a subscription outlives the last connection that needs it: most clients reconnect soon.
const LINGER: Duration = Duration::from_secs(30);
/// How often unneeded subscriptions are searched for.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// Delay before all servers are tried again, doubled after each attempt up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// Minimum time between two log entries about messages dropped for the same reason.
const LOG_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of unread events from the NATS library.
const NEWS: usize = 64;

/// A connection to NATS that reconnects by itself.
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

    /// Publishes the queued commits and signals, and passes messages of shards in `interest` to `take`. Runs for ever, and
    /// keeps trying while NATS is away.
    pub async fn run(self, epoch: Epoch, mut publish_queue: PublishQueue, interest: Arc<Interest>, take: impl Fn(BusMessage)) {
        let (keys, node) = (self.keys.clone(), self.node);
        let mut sealers = Sealers { keys, node, epoch: epoch.clone(), of: HashMap::new() };
        let mut inbox = Inbox {
            opener: Opener::new(self.keys.clone(), self.node, epoch),
            clock: self.clock.clone(),
            meters: self.meters.clone(),
            logged: Vec::new(),
            take,
        };
        let mut wait = FIRST_WAIT;
        loop {
            let mut troubles = Vec::new();
            for server in self.options.url.servers() {
                let begun = Instant::now();
                let trouble = match self.connect(server).await {
                    Ok(open) => self.serve(server, open, &mut sealers, &mut publish_queue, &interest, &mut inbox).await,
                    Err(trouble) => trouble,
                };
                if begun.elapsed() >= GOOD {
                    wait = FIRST_WAIT;
                }
                // The loss of a working connection is reported at once, before the next server is tried.
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

    /// Connects to the first server that accepts this node, and returns its address. Used by `doctor`.
    ///
    /// # Errors
    /// The failure of the last server: its code and a description.
    pub async fn probe(self) -> Result<String, (Away, String)> {
        let mut last = (Away::Connecting, String::new());
        for server in self.options.url.servers() {
            let tried = match self.connect(server).await {
                Ok(mut open) => open.await_echo(&Interest::default(), &*self.clock).await,
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
                // A full channel drops the event: the first failure in it already ends the connection.
                let _ = tell.try_send(event);
            }
            async {}
        });
        let connecting = async {
            let client = options.connect(address).await?;
            let own = Subject::from(format!("{BASE}.node.{}", self.node));
            let echo = client.subscribe(own.clone()).await.map_err(|error| lost(&error))?;
            let probe = Sealer::of_probe(self.keys.clone(), own);
            let (messages, subscribed) = (SelectAll::new(), HashMap::new());
            Ok(Open { client, echo, probe, messages, subscribed, beginning: None, news })
        };
        let late = |_| Trouble::new(Away::TimedOut, "no answer in time");
        timeout(CONNECT, connecting).await.map_err(late)?
    }

    /// Uses an open connection until it fails; returns the failure.
    async fn serve(
        &self,
        server: &Server,
        mut open: Open,
        sealers: &mut Sealers,
        publish_queue: &mut PublishQueue,
        interest: &Interest,
        inbox: &mut Inbox<impl Fn(BusMessage)>,
    ) -> Trouble {
        if let Err(trouble) = open.await_echo(interest, &*self.clock).await {
            return trouble;
        }
        // Commits queued since the bus went away have been read from the store meanwhile.
        self.meters.away.increment(publish_queue.clear());
        self.status.connected(&server.place);
        let client = open.client.clone();
        tokio::select! {
            trouble = open.listen(interest, inbox, &*self.clock) => trouble,
            trouble = self.publish_queued(&client, sealers, publish_queue) => trouble,
        }
    }

    async fn publish_queued(&self, client: &Client, sealers: &mut Sealers, publish_queue: &mut PublishQueue) -> Trouble {
        while let Some(waiting) = publish_queue.next().await {
            let published = match waiting {
                Waiting::Events(events, _) => self.publish_events(client, sealers, events).await,
                Waiting::Signal(signal) => self.publish_signal(client, sealers.of(Shard::of(signal.topic)), signal).await,
            };
            if let Err(trouble) = published {
                return trouble;
            }
        }
        // This node no longer commits, but still receives messages.
        std::future::pending().await
    }

    async fn publish_events(&self, client: &Client, sealers: &mut Sealers, mut events: Vec<Arc<Event>>) -> Result<(), Trouble> {
        let shard = |event: &Arc<Event>| Shard::of_room(event.room_id);
        // A stable sort keeps the order within a room.
        events.sort_by_key(shard);
        for events in events.chunk_by(|one, next| shard(one) == shard(next)) {
            let Some(sealer) = events.first().map(|event| sealers.of(shard(event))) else { continue };
            let mut parts = Parts::of(events);
            while let Some(message) = parts.next(sealer, client.max_payload(), self.clock.now()) {
                self.publish(client, sealer, message).await?;
            }
            self.meters.too_large.increment(parts.too_large);
        }
        Ok(())
    }

    async fn publish_signal(&self, client: &Client, sealer: &mut Sealer, signal: Signal) -> Result<(), Trouble> {
        let mut message = sealer.begin();
        let encoded = serde_json::to_writer(&mut message, &BusMessage::Signals(vec![signal])).is_ok();
        if !encoded || message.len() > client.max_payload() {
            self.meters.too_large.increment(1);
            return Ok(());
        }
        let message = sealer.finish(message, self.clock.now());
        self.publish(client, sealer, message).await
    }

    async fn publish(&self, client: &Client, sealer: &Sealer, message: Bytes) -> Result<(), Trouble> {
        client.publish(sealer.subject.clone(), message).await.map_err(|error| lost(&error))?;
        self.meters.sent.increment(1);
        Ok(())
    }
}

fn lost(error: &dyn Display) -> Trouble {
    Trouble::new(Away::Lost, error.to_string())
}

/// The sealers of this node, one per shard that it has published to.
struct Sealers {
    keys: BusKeys,
    node: ConnectionId,
    epoch: Epoch,
    of: HashMap<Shard, Sealer>,
}

impl Sealers {
    fn of(&mut self, shard: Shard) -> &mut Sealer {
        let make = || Sealer::new(self.keys.clone(), self.node, self.epoch.clone(), shard.subject(BASE).into());
        self.of.entry(shard).or_insert_with(make)
    }
}

/// An open connection and its subscriptions.
struct Open {
    client: Client,
    /// The subject on which this node receives its own echoes.
    echo: Subscriber,
    probe: Sealer,
    messages: SelectAll<BoxStream<'static, (Shard, Message)>>,
    subscribed: HashMap<Shard, Subscribed>,
    beginning: Option<Beginning>,
    news: mpsc::Receiver<NatsEvent>,
}

/// A subscription to one shard.
struct Subscribed {
    /// Dropping it ends the subscription.
    _end: oneshot::Sender<()>,
    unwanted_since: Option<Instant>,
}

impl Subscribed {
    /// Whether to keep the subscription: it is needed, or was until `LINGER` ago.
    fn lasts(&mut self, is_wanted: bool, now: Instant) -> bool {
        if is_wanted {
            self.unwanted_since = None;
            return true;
        }
        now - *self.unwanted_since.get_or_insert(now) < LINGER
    }
}

/// New subscriptions that await confirmation. NATS processes messages of a connection in order, so the echo of a message sent
/// after them proves that they are active.
struct Beginning {
    shards: Vec<Shard>,
    echo: Bytes,
    since: Instant,
}

impl Open {
    /// Subscribes to the wanted shards and waits for the echo, which proves that this node may publish and subscribe.
    async fn await_echo(&mut self, interest: &Interest, clock: &dyn Clock) -> Result<(), Trouble> {
        let shards = self.follow(interest).await?;
        self.send_echo(shards, clock).await?;
        let (echo, beginning) = (&mut self.echo, &mut self.beginning);
        let echoed = async {
            while let Some(message) = echo.next().await {
                if settle(beginning, &message, interest) {
                    return Ok(());
                }
            }
            Err(lost(&"the connection ended"))
        };
        tokio::select! {
            // The server's error is a better reason than the end of the connection.
            biased;
            trouble = watch(&mut self.news) => Err(trouble),
            echoed = timeout(ECHO, echoed) => echoed.unwrap_or_else(|_| {
                Err(Trouble::new(Away::Forbidden, format!("a message to {} does not come back", self.probe.subject)))
            }),
        }
    }

    /// Subscribes to wanted shards that have no subscription yet; returns them.
    async fn follow(&mut self, interest: &Interest) -> Result<Vec<Shard>, Trouble> {
        let mut shards = Vec::new();
        for shard in Shard::all().filter(|shard| interest.wants(*shard)) {
            if let Some(subscribed) = self.subscribed.get_mut(&shard) {
                subscribed.unwanted_since = None;
                continue;
            }
            let messages = self.client.subscribe(shard.subject(BASE)).await.map_err(|error| lost(&error))?;
            let (end, ended) = oneshot::channel::<()>();
            self.messages.push(messages.map(move |message| (shard, message)).take_until(ended).boxed());
            self.subscribed.insert(shard, Subscribed { _end: end, unwanted_since: None });
            shards.push(shard);
        }
        Ok(shards)
    }

    /// Publishes an echo behind these subscriptions.
    async fn send_echo(&mut self, shards: Vec<Shard>, clock: &dyn Clock) -> Result<(), Trouble> {
        let mut message = self.probe.begin();
        message.extend_from_slice(b"[]");
        let echo = self.probe.finish(message, clock.now());
        self.client.publish(self.probe.subject.clone(), echo.clone()).await.map_err(|error| lost(&error))?;
        self.beginning = Some(Beginning { shards, echo, since: Instant::now() });
        Ok(())
    }

    /// Receives messages, and keeps the subscriptions in line with `interest`.
    async fn listen(&mut self, interest: &Interest, inbox: &mut Inbox<impl Fn(BusMessage)>, clock: &dyn Clock) -> Trouble {
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                trouble = watch(&mut self.news) => return trouble,
                Some((shard, message)) = self.messages.next(), if !self.messages.is_empty() => inbox.receive(shard, &message),
                echo = self.echo.next() => match echo {
                    Some(message) => {
                        settle(&mut self.beginning, &message, interest);
                    }
                    None => return lost(&"the connection ended"),
                },
                () = interest.changed(), if self.beginning.is_none() => {
                    let followed = match self.follow(interest).await {
                        Ok(shards) if shards.is_empty() => Ok(()),
                        Ok(shards) => self.send_echo(shards, clock).await,
                        Err(trouble) => Err(trouble),
                    };
                    if let Err(trouble) = followed {
                        return trouble;
                    }
                }
                _ = tidy.tick() => self.tidy(interest),
            }
        }
    }

    /// Ends subscriptions that have been unneeded for `LINGER`. An echo that is overdue counts as received.
    fn tidy(&mut self, interest: &Interest) {
        let now = Instant::now();
        self.subscribed.retain(|shard, subscribed| subscribed.lasts(interest.wants(*shard), now));
        if let Some(beginning) = self.beginning.take_if(|beginning| now - beginning.since >= ECHO) {
            interest.begin(beginning.shards);
        }
    }
}

/// If this message is the expected echo, reports the new subscriptions as active to `interest`. Returns whether it was.
fn settle(beginning: &mut Option<Beginning>, message: &Message, interest: &Interest) -> bool {
    let settled = beginning.take_if(|beginning| beginning.echo == message.payload);
    settled.map(|beginning| interest.begin(beginning.shards)).is_some()
}

/// Waits for an event that makes the connection useless.
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

/// Receives messages of other nodes.
struct Inbox<Take> {
    opener: Opener,
    clock: Arc<dyn Clock>,
    meters: Meters,
    /// Reasons for drops that were logged, and when.
    logged: Vec<(&'static str, Instant)>,
    take: Take,
}

impl<Take: Fn(BusMessage)> Inbox<Take> {
    fn receive(&mut self, shard: Shard, message: &Message) {
        match self.opener.open(shard, &message.subject, &message.payload, self.clock.now()) {
            Ok(opened) => self.read(opened),
            Err(Refused::Own) => {}
            Err(refused) => self.drop(refused),
        }
    }

    fn read(&mut self, opened: Opened<'_>) {
        self.meters.received.increment(1);
        let (message, unreadable) = parts::read(opened.body);
        match (message, opened.fresh) {
            (Some(BusMessage::Signals(_)), Err(stale)) => self.drop(Refused::Stale(stale)),
            (Some(message), _) => (self.take)(message),
            (None, _) => {}
        }
        if unreadable > 0 {
            self.meters.unreadable.increment(unreadable);
            tracing::debug!(unreadable, "another node published events of an unknown kind");
        }
    }

    fn drop(&mut self, refused: Refused) {
        let (meter, why) = match refused {
            Refused::Own => return,
            Refused::Unreadable => {
                (&self.meters.unreadable, "its format is unknown: another program publishes to subjects below chatsphere.v3")
            }
            Refused::OtherEpoch => (
                &self.meters.epoch,
                "it comes from another installation, or from a node started before a restore: restart that node",
            ),
            Refused::Unverified => (
                &self.meters.unverified,
                "it is not signed with this cluster's secrets: a node has different secrets, or somebody forges messages",
            ),
            Refused::Stale(Stale::Replayed) => (&self.meters.replayed, "it was received before: somebody replays old messages"),
            Refused::Stale(Stale::Clock(_)) => (
                &self.meters.clock,
                "its time differs from this node's by more than 30 s: synchronise the clocks of all nodes (NTP)",
            ),
        };
        meter.increment(1);
        let now = Instant::now();
        let logged = self.logged.iter().any(|(logged, at)| *logged == why && now - *at < LOG_AGAIN);
        if !logged {
            self.logged.retain(|(logged, _)| *logged != why);
            self.logged.push((why, now));
            let clock_ahead_ms = if let Refused::Stale(Stale::Clock(ahead)) = refused { Some(ahead) } else { None };
            tracing::warn!(clock_ahead_ms, "messages on the bus are dropped: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_outlasts_its_last_connection_for_a_while() {
        let (end, _ended) = oneshot::channel();
        let mut subscribed = Subscribed { _end: end, unwanted_since: None };
        let begin = Instant::now();
        let mut lasts = |wanted, seconds| subscribed.lasts(wanted, begin + Duration::from_secs(seconds));
        assert!(lasts(true, 0) && lasts(false, 100) && lasts(false, 129));
        assert!(lasts(true, 130) && lasts(false, 131) && lasts(false, 160));
        assert!(!lasts(false, 161));
    }
}
