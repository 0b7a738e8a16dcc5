//! The receiving end of the bus: verifies the messages of other nodes, and counts and logs those that it rejects.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use chatsphere_core::Clock;
use tokio::time::Instant;

use super::anti_replay::Stale;
use super::message::{self, BusMessage};
use super::meters::Meters;
use super::signing::{Rejected, Verified, Verifier};
use crate::interest::SubjectShard;

/// Minimum time between two log entries about messages rejected for the same reason.
const LOG_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Verifies messages of other nodes and passes them to `on_message`.
pub(super) struct Inbox<F> {
    verifier: Verifier,
    clock: Arc<dyn Clock>,
    meters: Meters,
    /// Reasons for drops that were logged, and when.
    logged: Vec<(&'static str, Instant)>,
    on_message: F,
}

impl<F: Fn(BusMessage)> Inbox<F> {
    pub(super) fn new(verifier: Verifier, clock: Arc<dyn Clock>, meters: Meters, on_message: F) -> Self {
        Self { verifier, clock, meters, logged: Vec::new(), on_message }
    }

    pub(super) fn receive(&mut self, shard: SubjectShard, message: &Message) {
        match self.verifier.verify(shard, &message.subject, &message.payload, self.clock.now()) {
            Ok(verified) => self.accept(verified),
            Err(Rejected::Own) => {}
            Err(rejected) => self.reject(rejected),
        }
    }

    fn accept(&mut self, verified: Verified<'_>) {
        self.meters.received.increment(1);
        let (message, unreadable) = message::decode(verified.body);
        match (message, verified.freshness) {
            (Some(BusMessage::Signals(_)), Err(stale)) => self.reject(Rejected::Stale(stale)),
            (Some(message), _) => (self.on_message)(message),
            (None, _) => {}
        }
        if unreadable > 0 {
            self.meters.unreadable.increment(unreadable);
            tracing::debug!(unreadable, "another node published events of an unknown kind");
        }
    }

    fn reject(&mut self, rejected: Rejected) {
        let (meter, why) = match rejected {
            Rejected::Own => return,
            Rejected::Unreadable => {
                (&self.meters.unreadable, "its format is unknown: another program publishes to subjects below chatsphere.v3")
            }
            Rejected::OtherEpoch => (
                &self.meters.other_epoch,
                "it comes from another installation, or from a node started before a restore: restart that node",
            ),
            Rejected::Unverified => (
                &self.meters.unverified,
                "it is not signed with this cluster's secrets: a node has different secrets, or somebody forges messages",
            ),
            Rejected::Stale(Stale::Replayed) => {
                (&self.meters.replayed, "it was received before: somebody replays old messages")
            }
            Rejected::Stale(Stale::Clock(_)) => (
                &self.meters.clock_skew,
                "its time differs from this node's by more than 30 s: synchronise the clocks of all nodes (NTP)",
            ),
        };
        meter.increment(1);
        let now = Instant::now();
        let logged = self.logged.iter().any(|(logged, at)| *logged == why && now - *at < LOG_AGAIN_AFTER);
        if !logged {
            self.logged.retain(|(logged, _)| *logged != why);
            self.logged.push((why, now));
            let clock_ahead_ms = if let Rejected::Stale(Stale::Clock(ahead)) = rejected { Some(ahead) } else { None };
            tracing::warn!(clock_ahead_ms, "messages on the bus are dropped: {why}");
        }
    }
}
