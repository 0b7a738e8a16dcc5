//! What the server tells about itself.

pub mod catalogue;
mod counts;
pub mod metrics;
mod process;

pub(crate) use counts::Counts;
