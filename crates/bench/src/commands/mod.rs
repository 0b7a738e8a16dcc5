//! One command a file.

pub(crate) mod fanout;
pub(crate) mod ingest;
pub(crate) mod smoke;
pub(crate) mod verify;
