//! The store on PostgreSQL: one writer with a connection of its own, and a pool of connections for reads.

mod connect;
mod database;
mod failure;
mod import;
mod index_build;
mod inspect;
mod installation;
mod migrations;
mod names;
mod pool;
mod read;
mod rows;
mod source;
mod start;
mod tls;
mod writable;
mod write;

pub(crate) use import::PostgresTarget;
pub(crate) use inspect::inspect;
pub(crate) use source::Source;
pub(crate) use start::{migrate, open, renew_epoch};
