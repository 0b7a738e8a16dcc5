//! What the server tells about itself.

pub mod catalogue;
pub mod metrics;
mod process;

pub(crate) use chatsphere_realtime::Counts;
