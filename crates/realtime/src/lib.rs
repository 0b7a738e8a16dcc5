//! Who listens where: the hub, outbound queues, resume, signals, the event bus.
//!
//! Never SQL, HTTP routes or policy.

mod ack;
pub mod answer;
pub mod batch;
pub mod bus;
mod counts;
pub mod frame;
pub mod gate;
pub mod hub;
pub mod interest;
pub mod join;
pub mod lane;
pub mod listener;
pub mod log;
pub mod outbound;
pub mod repair;
mod room;
mod send_window;
pub mod signal;
pub mod wire;

pub use ack::PendingAck;
pub use answer::Correlation;
pub use batch::{Batch, OneByOne, fastest_batch};
pub use bus::{Bus, BusKeys, BusMessage, BusStatus, InvalidNats, Link, NatsOptions, NatsUrl};
pub use counts::Counts;
pub use gate::Gate;
pub use hub::{Hub, HubTasks};
pub use interest::Interest;
pub use join::{Join, join, largest_frame};
pub use lane::Lane;
pub use listener::Listener;
pub use log::RoomLog;
pub use outbound::{Flushed, Outbound, Socket};
pub use send_window::SendWindow;
pub use signal::Connections;

#[cfg(test)]
mod simulation;
