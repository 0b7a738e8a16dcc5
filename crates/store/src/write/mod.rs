//! Group commit, the same for every database: a bounded [`queue`], one [`writer`] that commits all that waits as one
//! transaction, and the [`rules`], one for each kind of write. What a database must be able to do stands in [`database`]; the
//! adapters hold nothing but its SQL.

pub(crate) mod adapter;
mod command;
pub(crate) mod database;
pub(crate) mod failure;
mod handle;
pub(crate) mod queue;
mod rules;
pub(crate) mod writer;

pub(crate) use handle::Writes;
pub(crate) use rules::decide::state_of;
pub(crate) use rules::outcome::{FoundRecord, IdempotencyRecord, Outcome};
