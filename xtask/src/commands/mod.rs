//! The commands, one per file.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod ci;
pub(crate) mod codegen;
pub(crate) mod dev;
pub(crate) mod lint;
pub(crate) mod soak;
pub(crate) mod test;
pub(crate) mod with_services;
