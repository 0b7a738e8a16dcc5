//! What the load generator and the checker (`chatsphere-verify`) share: making users and rooms, the report, and why a run could
//! not be made.

pub mod error;
pub mod latency;
pub mod plot;
pub mod report;
pub mod setup;
