//! The event bus: nodes on one database exchange events and signals over NATS.
//!
//! Rooms and users are divided into shards, each with a subject of its own. A node subscribes only to the shards of its rooms
//! and users with connections (`interest.rs`).
//!
//! Delivery may lose, duplicate and reorder messages: core NATS delivers at most once and does not order messages of different
//! nodes. The hub orders events by `seq`, drops duplicates and reads missing events from the store. While NATS is away, nodes
//! find new events in the store, with more delay.
//!
//! A forged event would still do harm, because it would take the `seq` of a genuine one. Every message is therefore
//! authenticated (`signing.rs`) with a key that only nodes with the cluster's secrets have.

mod anti_replay;
mod connection;
mod disconnect;
mod inbox;
mod link;
mod message;
mod meters;
mod options;
mod publish_queue;
mod signing;
mod status;
mod url;

use std::sync::Arc;

use chatsphere_core::{CommitSink, Committed, Signal, SignalSink};

pub use disconnect::DisconnectReason;
pub use link::NatsLink;
pub use message::BusMessage;
pub use options::{Credentials, InvalidNats, NatsOptions, NatsTls, NkeySeed};
pub use publish_queue::PublishQueue;
use publish_queue::Publisher;
pub use signing::BusKeys;
pub use status::BusStatus;
pub use url::NatsUrl;

use crate::hub::Hub;

/// Passes each commit and signal to this node's hub and publishes it to the other nodes.
pub struct Bus {
    hub: Arc<Hub>,
    /// `None` on a single node.
    publisher: Option<Publisher>,
}

impl Bus {
    /// The bus of a single node.
    pub fn local(hub: Arc<Hub>) -> Self {
        Self { hub, publisher: None }
    }

    /// The bus of one node of several. Commits and signals wait in the [`PublishQueue`] for [`NatsLink::run`]. While `status`
    /// reports the bus as disconnected nothing is queued: by the time it is back, other nodes have read the events from the
    /// store.
    pub fn clustered(hub: Arc<Hub>, status: Arc<BusStatus>) -> (Self, PublishQueue) {
        let (publisher, queue) = publish_queue::new(status);
        (Self { hub, publisher: Some(publisher) }, queue)
    }
}

impl CommitSink for Bus {
    fn committed(&self, batch: Committed) {
        if let Some(publisher) = &self.publisher
            && !batch.events.is_empty()
        {
            publisher.queue_events(&batch.events);
        }
        self.hub.committed(batch);
    }
}

impl SignalSink for Bus {
    fn signal(&self, signal: Signal) {
        if let Some(publisher) = &self.publisher {
            publisher.queue_signal(&signal);
        }
        self.hub.signal(signal);
    }
}
