//! Group commit, the same for every database: a bounded [`queue`], one [`writer`] that commits all that waits as one
//! transaction, and the [`rules`] that decide what each write does. What a database must be able to do stands in
//! [`database`]; the adapters hold nothing but its SQL.

pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod failure;
mod front;
pub(crate) mod queue;
mod rules;
pub(crate) mod writer;

pub(crate) use front::Writes;
pub(crate) use rules::decide::state_of;
pub(crate) use rules::outcome::{Memory, Outcome, Remembered};
