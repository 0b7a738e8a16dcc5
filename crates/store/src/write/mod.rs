//! Group commit, the same for every database: a bounded [`queue`], one [`writer`] that commits all queued writes in one
//! transaction, and the [`rules`], one for each kind of write. [`database`] lists the operations that a database must offer;
//! the adapters contain only its SQL.

pub(crate) mod adapter;
mod command;
pub(crate) mod database;
pub(crate) mod failure;
mod handle;
pub(crate) mod queue;
mod rules;
pub(crate) mod writer;

pub(crate) use handle::Writes;
pub(crate) use rules::decide::access_of;
pub(crate) use rules::outcome::{FoundRecord, IdempotencyRecord, Outcome};
