//! The configuration: one table of settings, five sources of values.

mod docs;
mod dot_env;
mod flags;
mod load;
mod place;
mod settings;
mod sources;
mod table;
mod values;

pub use docs::markdown;
pub use flags::{DatabaseFlags, Flags, ServerFlags};
pub use load::{Loaded, Sources, load};
pub use place::{ConfigError, Mistake, Place};
pub use settings::{LogFormat, Settings};
pub use table::{Group, SETTINGS, Setting, setting};
