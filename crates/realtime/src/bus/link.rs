//! The connection to NATS: made, watched, and made again.

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

/// What the nodes speak lies below this: `room.00` to `room.ff`, `user.00` to `user.ff`, and `node.<name>`, where a node speaks
/// to itself. A later, different format gets a base of its own.
const BASE: &str = "chatsphere.v3";
/// How long connecting to one server may take, looking up its name included.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a message to oneself may take to come back.
const ECHO: Duration = Duration::from_secs(5);
/// How long a subscription outlasts the last connection that wanted it: most come back soon.
const LINGER: Duration = Duration::from_secs(30);
/// How often subscriptions that nobody wants are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// How long to wait before the servers are tried again: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How often the log is told of messages that were dropped for the same reason.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// What the library tells of a connection, as far as it was not read yet.
const NEWS: usize = 64;

/// A connection to NATS, which comes back by itself.
pub struct NatsLink {
    options: NatsOptions,
    keys: BusKeys,
    clock: Arc<dyn Clock>,
    /// Names this node until it stops, so that it does not listen to itself.
    node: ConnectionId,
    status: Arc<BusStatus>,
    meters: Meters,
}

impl NatsLink {
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

    /// Tells other nodes what this one commits, and gives what they tell of `interest` to `take`. Runs for ever: NATS may be
    /// away, and come later.
    pub async fn run(self, epoch: Epoch, mut publish_queue: PublishQueue, interest: Arc<Interest>, take: impl Fn(BusMessage)) {
        let (keys, node) = (self.keys.clone(), self.node);
        let mut sealers = Sealers { keys, node, epoch: epoch.clone(), of: HashMap::new() };
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
                    Ok(open) => self.serve(server, open, &mut sealers, &mut publish_queue, &interest, &mut inbox).await,
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
        let mut last = (Away::Connecting, String::new());
        for server in self.options.url.servers() {
            let tried = match self.connect(server).await {
                Ok(mut open) => open.hear_oneself(&Interest::default(), &*self.clock).await,
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
            let own = Subject::from(format!("{BASE}.node.{}", self.node));
            let echo = client.subscribe(own.clone()).await.map_err(|error| lost(&error))?;
            let probe = Sealer::of_probe(self.keys.clone(), own);
            let (messages, subscribed) = (SelectAll::new(), HashMap::new());
            Ok(Open { client, echo, probe, messages, subscribed, beginning: None, news })
        };
        let late = |_| Trouble::new(Away::TimedOut, "no answer in time");
        timeout(CONNECT, connecting).await.map_err(late)?
    }

    /// Until the connection is of no more use; answers why.
    async fn serve(
        &self,
        server: &Server,
        mut open: Open,
        sealers: &mut Sealers,
        publish_queue: &mut PublishQueue,
        interest: &Interest,
        inbox: &mut Inbox<impl Fn(BusMessage)>,
    ) -> Trouble {
        if let Err(trouble) = open.hear_oneself(interest, &*self.clock).await {
            return trouble;
        }
        // What waited since the bus went away has long been found in the store.
        self.meters.away.increment(publish_queue.clear());
        self.status.connected(&server.place);
        let client = open.client.clone();
        tokio::select! {
            trouble = open.listen(interest, inbox, &*self.clock) => trouble,
            trouble = self.tell(&client, sealers, publish_queue) => trouble,
        }
    }

    async fn tell(&self, client: &Client, sealers: &mut Sealers, publish_queue: &mut PublishQueue) -> Trouble {
        while let Some(waiting) = publish_queue.next().await {
            let told = match waiting {
                Waiting::Events(events, _) => self.tell_events(client, sealers, events).await,
                Waiting::Signal(signal) => self.tell_signal(client, sealers.of(Shard::of(signal.topic)), signal).await,
            };
            if let Err(trouble) = told {
                return trouble;
            }
        }
        // Nobody is left who commits; there may be others to listen to.
        std::future::pending().await
    }

    async fn tell_events(&self, client: &Client, sealers: &mut Sealers, mut events: Vec<Arc<Event>>) -> Result<(), Trouble> {
        let shard = |event: &Arc<Event>| Shard::of_room(event.room_id);
        // Those of one room stay in their order.
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

    async fn tell_signal(&self, client: &Client, sealer: &mut Sealer, signal: Signal) -> Result<(), Trouble> {
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

/// This node's sealers, one for each shard that it has told something of.
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

/// A connection, and what comes over it.
struct Open {
    client: Client,
    /// What this node tells itself.
    echo: Subscriber,
    probe: Sealer,
    messages: SelectAll<BoxStream<'static, (Shard, Message)>>,
    subscribed: HashMap<Shard, Subscribed>,
    beginning: Option<Beginning>,
    news: mpsc::Receiver<NatsEvent>,
}

/// A subscription to a shard.
struct Subscribed {
    /// Dropped, it ends the subscription.
    _end: oneshot::Sender<()>,
    unwanted_since: Option<Instant>,
}

impl Subscribed {
    /// Whether it goes on: it is wanted, or was until not long ago.
    fn lasts(&mut self, is_wanted: bool, now: Instant) -> bool {
        if is_wanted {
            self.unwanted_since = None;
            return true;
        }
        now - *self.unwanted_since.get_or_insert(now) < LINGER
    }
}

/// Subscriptions that are in force once a message to oneself, sent behind them, has come back.
struct Beginning {
    shards: Vec<Shard>,
    echo: Bytes,
    since: Instant,
}

impl Open {
    /// Subscribes to what is wanted and waits for a message to oneself: then this node may publish and subscribe, and both
    /// work.
    async fn hear_oneself(&mut self, interest: &Interest, clock: &dyn Clock) -> Result<(), Trouble> {
        let shards = self.follow(interest).await?;
        self.speak_to_oneself(shards, clock).await?;
        let (echo, beginning) = (&mut self.echo, &mut self.beginning);
        let heard = async {
            while let Some(message) = echo.next().await {
                if settle(beginning, &message, interest) {
                    return Ok(());
                }
            }
            Err(lost(&"the connection ended"))
        };
        tokio::select! {
            // What the server says is a better reason than that the connection ended.
            biased;
            trouble = watch(&mut self.news) => Err(trouble),
            heard = timeout(ECHO, heard) => heard.unwrap_or_else(|_| {
                Err(Trouble::new(Away::Forbidden, format!("a message to {} does not come back", self.probe.subject)))
            }),
        }
    }

    /// Subscribes to the shards that are wanted and were not.
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

    /// Sends a message to oneself behind these subscriptions.
    async fn speak_to_oneself(&mut self, shards: Vec<Shard>, clock: &dyn Clock) -> Result<(), Trouble> {
        let mut message = self.probe.begin();
        message.extend_from_slice(b"[]");
        let echo = self.probe.finish(message, clock.now());
        self.client.publish(self.probe.subject.clone(), echo.clone()).await.map_err(|error| lost(&error))?;
        self.beginning = Some(Beginning { shards, echo, since: Instant::now() });
        Ok(())
    }

    /// Takes what comes, and follows what is wanted.
    async fn listen(&mut self, interest: &Interest, inbox: &mut Inbox<impl Fn(BusMessage)>, clock: &dyn Clock) -> Trouble {
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                trouble = watch(&mut self.news) => return trouble,
                Some((shard, message)) = self.messages.next(), if !self.messages.is_empty() => inbox.hear(shard, &message),
                echo = self.echo.next() => match echo {
                    Some(message) => {
                        settle(&mut self.beginning, &message, interest);
                    }
                    None => return lost(&"the connection ended"),
                },
                () = interest.changed(), if self.beginning.is_none() => {
                    let followed = match self.follow(interest).await {
                        Ok(shards) if shards.is_empty() => Ok(()),
                        Ok(shards) => self.speak_to_oneself(shards, clock).await,
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

    /// Ends subscriptions that nobody has wanted for long. An echo that was lost is waited for no longer.
    fn tidy(&mut self, interest: &Interest) {
        let now = Instant::now();
        self.subscribed.retain(|shard, subscribed| subscribed.lasts(interest.wants(*shard), now));
        if let Some(beginning) = self.beginning.take_if(|beginning| now - beginning.since >= ECHO) {
            interest.begin(beginning.shards);
        }
    }
}

/// Whether this message to oneself shows that the newest subscriptions are in force; they are told of.
fn settle(beginning: &mut Option<Beginning>, message: &Message, interest: &Interest) -> bool {
    let settled = beginning.take_if(|beginning| beginning.echo == message.payload);
    settled.map(|beginning| interest.begin(beginning.shards)).is_some()
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

impl<Take: Fn(BusMessage)> Inbox<Take> {
    fn hear(&mut self, shard: Shard, message: &Message) {
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
            tracing::debug!(unreadable, "another node told what this one can't read");
        }
    }

    fn drop(&mut self, refused: Refused) {
        let (meter, why) = match refused {
            Refused::Own => return,
            Refused::Unreadable => (
                &self.meters.unreadable,
                "it is in no form that this version knows: somebody else publishes below chatsphere.v3",
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
            Refused::Stale(Stale::Clock(_)) => (
                &self.meters.clock,
                "it is a signal, or of a node not heard before, and not of now: set the clocks of all nodes (NTP)",
            ),
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
