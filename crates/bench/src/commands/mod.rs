//! The commands, one per file.

pub(crate) mod connect;
pub(crate) mod fairness;
pub(crate) mod fanout;
pub(crate) mod floor;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod ingest;
pub(crate) mod rest;
pub(crate) mod smoke;
pub(crate) mod storm;
