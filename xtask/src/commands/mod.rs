//! The commands, one a file.

pub(crate) mod test;
pub(crate) mod with_services;
