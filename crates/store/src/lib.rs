//! ChatSphere's store on SQLite and on PostgreSQL.
//!
//! [`open`] returns the port [`chatsphere_core::Store`]. Code above the port does not depend on the database. All SQL of the
//! project is in this crate.

pub mod certificates;
mod client_id_key;
mod control;
mod copy;
mod error;
mod fingerprints;
mod flags;
mod health;
mod import;
mod inspect;
mod migration;
mod open;
mod options;
mod pages;
mod postgres;
mod rows;
mod space;
mod sqlite;
mod url;
mod write;

pub use client_id_key::ClientIdKey;
pub use copy::{CheckedCopy, CopyError, Progress, adopt_copy, check_copy, copy, empty_log};
pub use error::OpenError;
pub use fingerprints::{Fingerprint, KeyFingerprints, SigningKey};
pub use import::{
    Derived, ImportError, ImportObserver, ImportOptions, ImportReport, Stage, Tally, check_nodejs, derived_id, import_nodejs,
};
pub use inspect::{Inspection, inspect};
pub use open::{MigrationReport, migrate, open, renew_epoch};
pub use options::{OpenOptions, QueueBounds};
pub use url::{DatabaseUrl, InvalidUrl};
