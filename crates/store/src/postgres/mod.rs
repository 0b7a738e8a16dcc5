//! The store on PostgreSQL: one writer with a connection of its own, reads on a pool.

mod connect;
mod failure;
mod inspect;
mod installation;
mod migrations;
mod names;
mod pool;
mod read;
mod rows;
mod start;
mod store;
mod tls;
mod writable;
mod write;

pub(crate) use inspect::inspect;
pub(crate) use start::{migrate, open, renew_epoch};
