//! Real-time delivery: the hub and its subscriptions, the fan-out, write queues, replay on join, signals, and the event bus.
//!
//! This crate contains no SQL, no HTTP routes and no permission rules.

mod ack;
pub mod answer;
mod batch;
pub mod bus;
mod counter_family;
mod delivery_gate;
mod fanout_shard;
pub mod frame;
mod hub;
mod interest;
mod join;
mod log;
pub mod reconcile;
mod room;
mod send_window;
pub mod signal;
mod subscriber;
pub mod wire;
mod write_queue;

pub use ack::PendingAck;
pub use answer::Correlation;
pub use batch::{Batch, OneByOne, fastest_batch};
pub use bus::{Bus, BusKeys, BusMessage, BusStatus, InvalidNats, NatsLink, NatsOptions, NatsUrl};
pub use counter_family::CounterFamily;
pub use delivery_gate::DeliveryGate;
pub use fanout_shard::FanoutShard;
pub use hub::{Hub, HubTasks};
pub use interest::Interest;
pub use join::{Join, join, largest_frame};
pub use log::RoomLog;
pub use send_window::SendWindow;
pub use signal::Connections;
pub use subscriber::Subscriber;
pub use write_queue::{Flushed, Socket, WriteQueue};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
