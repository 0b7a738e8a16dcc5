//! Metrics of the server and the process.

pub mod catalogue;
pub mod metrics;
mod process;

pub(crate) use chatsphere_realtime::CounterFamily;
