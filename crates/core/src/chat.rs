//! What every op needs.

use std::sync::Arc;
use std::time::Duration;

use crate::authority::Authority;
use crate::limits::Limits;
use crate::rate::PostRate;
use crate::store::Store;
use crate::time::Clock;

/// The running chat, as ops see it.
pub struct Chat {
    /// Durable storage.
    pub store: Arc<dyn Store>,
    /// Who may do what at this moment.
    pub authority: Arc<Authority>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What clients may send and hold.
    pub limits: Limits,
    /// How long tokens live.
    pub lifetimes: TokenLifetimes,
    /// How often users may post.
    pub post_rate: PostRate,
}

/// How long tokens live when the call does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetimes {
    /// USER tokens.
    pub user: Duration,
    /// CLIENT tokens.
    pub client: Duration,
}

impl Default for TokenLifetimes {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { user: DAY * 7, client: DAY * 365 }
    }
}
