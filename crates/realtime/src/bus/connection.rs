//! One connection to a NATS server, and its subscriptions to the shards that this node needs.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event as NatsEvent, Message, ServerAddr, Subject, Subscriber};
use bytes::Bytes;
use chatsphere_core::{Clock, ConnectionId};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::BusMessage;
use super::disconnect::{DisconnectReason, LinkError};
use super::inbox::Inbox;
use super::meters::Meters;
use super::signing::{BusKeys, Signer};
use crate::interest::{Interest, SubjectShard};

/// The prefix of all subjects: `room.00` to `room.ff`, `user.00` to `user.ff`, and `node.<name>`, which a node uses to send
/// itself echoes. An incompatible format gets a prefix of its own.
pub(super) const SUBJECT_PREFIX: &str = "chatsphere.v3";
/// Timeout for the echo of a node's message to itself.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a subscription outlives the last connection that needs it: most clients reconnect soon.
const LINGER: Duration = Duration::from_secs(30);
/// How often unneeded subscriptions are searched for.
const CLEANUP_EVERY: Duration = Duration::from_secs(10);
/// Maximum number of unread events from the NATS library.
const MAX_LIBRARY_EVENTS: usize = 64;

/// An open connection and its subscriptions.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Receives this node's own echoes.
    echoes: Subscriber,
    echo_signer: Signer,
    /// Messages of all subscriptions to shards.
    messages: SelectAll<BoxStream<'static, (SubjectShard, Message)>>,
    subscriptions: HashMap<SubjectShard, ShardSubscription>,
    pending: Option<PendingSubscriptions>,
    library_events: mpsc::Receiver<NatsEvent>,
}

impl Connection {
    /// Connects, and subscribes to this node's own subject.
    pub(super) async fn open(
        address: ServerAddr,
        options: ConnectOptions,
        node: ConnectionId,
        keys: BusKeys,
        meters: &Meters,
    ) -> Result<Self, LinkError> {
        let (sender, library_events) = mpsc::channel(MAX_LIBRARY_EVENTS);
        let slow_consumer = meters.slow_consumer.clone();
        let options = options.event_callback(move |event| {
            if let NatsEvent::SlowConsumer(_) = event {
                slow_consumer.increment(1);
            } else {
                // A full channel drops the event: the first failure in it already ends the connection.
                let _ = sender.try_send(event);
            }
            async {}
        });
        let client = options.connect(address).await?;
        let subject = Subject::from(format!("{SUBJECT_PREFIX}.node.{node}"));
        let echoes = client.subscribe(subject.clone()).await.map_err(|error| LinkError::lost(&error))?;
        let echo_signer = Signer::for_echo(keys, subject);
        let (messages, subscriptions) = (SelectAll::new(), HashMap::new());
        Ok(Self { client, echoes, echo_signer, messages, subscriptions, pending: None, library_events })
    }

    /// Subscribes to the needed shards and waits for the echo, which proves that this node may publish and subscribe.
    pub(super) async fn await_echo(&mut self, interest: &Interest, clock: &dyn Clock) -> Result<(), LinkError> {
        let shards = self.subscribe_to_needed(interest).await?;
        self.send_echo(shards, clock).await?;
        let (echoes, pending) = (&mut self.echoes, &mut self.pending);
        let echoed = async {
            while let Some(message) = echoes.next().await {
                if confirm(pending, &message, interest) {
                    return Ok(());
                }
            }
            Err(LinkError::lost(&"the connection ended"))
        };
        tokio::select! {
            // The server's error is a better reason than the end of the connection.
            biased;
            error = wait_for_failure(&mut self.library_events) => Err(error),
            echoed = timeout(ECHO_TIMEOUT, echoed) => echoed.unwrap_or_else(|_| {
                let description = format!("a message to {} does not come back", self.echo_signer.subject);
                Err(LinkError::new(DisconnectReason::Forbidden, description))
            }),
        }
    }

    /// Subscribes to needed shards that have no subscription yet; returns them.
    async fn subscribe_to_needed(&mut self, interest: &Interest) -> Result<Vec<SubjectShard>, LinkError> {
        let mut shards = Vec::new();
        for shard in SubjectShard::all().filter(|shard| interest.wants(*shard)) {
            if let Some(subscription) = self.subscriptions.get_mut(&shard) {
                subscription.unneeded_since = None;
                continue;
            }
            let messages =
                self.client.subscribe(shard.subject(SUBJECT_PREFIX)).await.map_err(|error| LinkError::lost(&error))?;
            let (unsubscribe, unsubscribed) = oneshot::channel::<()>();
            self.messages.push(messages.map(move |message| (shard, message)).take_until(unsubscribed).boxed());
            self.subscriptions.insert(shard, ShardSubscription { _unsubscribe: unsubscribe, unneeded_since: None });
            shards.push(shard);
        }
        Ok(shards)
    }

    /// Publishes an echo behind these subscriptions.
    async fn send_echo(&mut self, shards: Vec<SubjectShard>, clock: &dyn Clock) -> Result<(), LinkError> {
        let mut message = self.echo_signer.begin();
        message.extend_from_slice(b"[]");
        let echo = self.echo_signer.finish(message, clock.now());
        self.client.publish(self.echo_signer.subject.clone(), echo.clone()).await.map_err(|error| LinkError::lost(&error))?;
        self.pending = Some(PendingSubscriptions { shards, echo, since: Instant::now() });
        Ok(())
    }

    /// Receives messages, and keeps the subscriptions in line with `interest`, until the connection fails.
    pub(super) async fn receive(
        &mut self,
        interest: &Interest,
        inbox: &mut Inbox<impl Fn(BusMessage)>,
        clock: &dyn Clock,
    ) -> LinkError {
        let mut ticks = interval(CLEANUP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                error = wait_for_failure(&mut self.library_events) => return error,
                Some((shard, message)) = self.messages.next(), if !self.messages.is_empty() => inbox.receive(shard, &message),
                echo = self.echoes.next() => match echo {
                    Some(message) => {
                        confirm(&mut self.pending, &message, interest);
                    }
                    None => return LinkError::lost(&"the connection ended"),
                },
                () = interest.changed(), if self.pending.is_none() => {
                    let subscribed = match self.subscribe_to_needed(interest).await {
                        Ok(shards) if shards.is_empty() => Ok(()),
                        Ok(shards) => self.send_echo(shards, clock).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = subscribed {
                        return error;
                    }
                }
                _ = ticks.tick() => self.unsubscribe_unneeded(interest),
            }
        }
    }

    /// Ends subscriptions that have been unneeded for `LINGER`. An echo that is overdue counts as received.
    fn unsubscribe_unneeded(&mut self, interest: &Interest) {
        let now = Instant::now();
        self.subscriptions.retain(|shard, subscription| subscription.should_keep(interest.wants(*shard), now));
        if let Some(pending) = self.pending.take_if(|pending| now - pending.since >= ECHO_TIMEOUT) {
            interest.begin(pending.shards);
        }
    }
}

/// A subscription to one shard.
struct ShardSubscription {
    /// Dropping it ends the subscription.
    _unsubscribe: oneshot::Sender<()>,
    unneeded_since: Option<Instant>,
}

impl ShardSubscription {
    /// Whether to keep the subscription: it is needed, or was until `LINGER` ago.
    fn should_keep(&mut self, is_needed: bool, now: Instant) -> bool {
        if is_needed {
            self.unneeded_since = None;
            return true;
        }
        now - *self.unneeded_since.get_or_insert(now) < LINGER
    }
}

/// New subscriptions that await confirmation. NATS processes messages of a connection in order, so the echo of a message sent
/// after them proves that they are active.
struct PendingSubscriptions {
    shards: Vec<SubjectShard>,
    echo: Bytes,
    since: Instant,
}

/// If this message is the expected echo, reports the new subscriptions as active to `interest`. Returns whether it was.
fn confirm(pending: &mut Option<PendingSubscriptions>, message: &Message, interest: &Interest) -> bool {
    let confirmed = pending.take_if(|pending| pending.echo == message.payload);
    confirmed.map(|confirmed| interest.begin(confirmed.shards)).is_some()
}

/// Waits for an event that makes the connection useless.
async fn wait_for_failure(library_events: &mut mpsc::Receiver<NatsEvent>) -> LinkError {
    while let Some(event) = library_events.recv().await {
        match event {
            NatsEvent::ServerError(error) => {
                if let Some(failure) = LinkError::from_server(&error) {
                    return failure;
                }
                tracing::debug!(%error, "NATS");
            }
            NatsEvent::Disconnected | NatsEvent::Closed => return LinkError::lost(&"the connection ended"),
            NatsEvent::LameDuckMode => return LinkError::lost(&"the server is about to stop"),
            event => tracing::debug!(%event, "NATS"),
        }
    }
    LinkError::lost(&"the connection ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_outlasts_its_last_connection_for_a_while() {
        let (unsubscribe, _unsubscribed) = oneshot::channel();
        let mut subscription = ShardSubscription { _unsubscribe: unsubscribe, unneeded_since: None };
        let begin = Instant::now();
        let mut kept = |needed, seconds| subscription.should_keep(needed, begin + Duration::from_secs(seconds));
        assert!(kept(true, 0) && kept(false, 100) && kept(false, 129));
        assert!(kept(true, 130) && kept(false, 131) && kept(false, 160));
        assert!(!kept(false, 161));
    }
}
