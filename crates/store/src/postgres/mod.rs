//! The store on PostgreSQL: one writer with a connection of its own, reads on a pool.

mod connect;
mod failure;
mod installation;
mod migrations;
mod pool;
mod read;
mod rows;
mod start;
mod store;
mod tls;
mod write;

pub(crate) use start::{migrate, open};
