//! The store on a SQLite file: one writer on a thread of its own, readers beside it.

mod checkpoint;
mod connection;
mod failure;
mod import;
mod inspect;
mod installation;
mod migrations;
mod names;
mod read;
mod readers;
mod recent;
mod rows;
mod start;
mod store;
mod write;

pub(crate) use import::SqliteTarget;
pub(crate) use inspect::inspect;
pub(crate) use start::{migrate, open, renew_epoch};
