//! What every op needs.

use std::sync::Arc;
use std::time::Duration;

use crate::authority::Authority;
use crate::caller::Caller;
use crate::error::Error;
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
    /// How often users may change anything else; the same measure, counted apart.
    pub change_rate: PostRate,
}

impl Chat {
    /// A chat upon a store, with nothing counted against anyone yet.
    pub fn new(
        store: Arc<dyn Store>,
        authority: Arc<Authority>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        lifetimes: TokenLifetimes,
    ) -> Self {
        let rate = || PostRate::new(limits.messages_per_second, limits.message_burst);
        let (post_rate, change_rate) = (rate(), rate());
        Self { store, authority, clock, limits, lifetimes, post_rate, change_rate }
    }

    /// Counts a change other than a message against its user. A backend's CLIENT token is not bounded.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn count_change(&self, caller: &Caller) -> Result<(), Error> {
        if caller.may_name_others() {
            return Ok(());
        }
        self.change_rate.take(caller.user.id, self.clock.now()).map_err(Error::RateLimited)
    }
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
