//! The parts that the load generator shares with the checker (`chatsphere-verify`): creating users and rooms, the report, and
//! errors.

pub mod error;
pub mod latency;
pub mod plot;
pub mod report;
pub mod setup;
