//! Executes a run: clients, membership changes, faults.

pub(super) mod device;
pub(super) mod director;
pub(super) mod faults;
pub(super) mod history;
mod incoming;
pub(super) mod outbox;
mod place;
pub(super) mod plan;
pub(super) mod post;
pub(super) mod recorder;
pub(super) mod server;
pub(super) mod stage;
pub(super) mod steps;
pub(super) mod steward;
pub(super) mod wire;
