//! [`AppContext`]: the state and the ports that every op uses.

use std::sync::Arc;
use std::time::Duration;

use crate::authority::Authority;
use crate::budget::{Budget, Owner};
use crate::caller::Caller;
use crate::error::{Error, RateLimited, Unavailable};
use crate::limits::Limits;
use crate::page_cache::PageCache;
use crate::rate::RateLimiter;
use crate::signal::{NoSignals, SignalRate, SignalSink};
use crate::store::Store;
use crate::time::Clock;
use crate::turns::{Turn, Turns};

/// The state and the ports that every op uses.
pub struct AppContext {
    /// Durable storage.
    pub store: Arc<dyn Store>,
    /// The cache of the current rights of tokens and users.
    pub authority: Arc<Authority>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The limits on clients.
    pub limits: Limits,
    /// The default lifetimes of tokens.
    pub lifetimes: TokenLifetimes,
    /// The rate limit of messages.
    pub post_rate: RateLimiter,
    /// The rate limit of changes other than messages. It has the rate of `post_rate`, and counts separately.
    pub change_rate: RateLimiter,
    /// The rate limit of reads over REST.
    pub read_rate: RateLimiter,
    /// Delivers ephemeral signals to connections.
    pub signals: Arc<dyn SignalSink>,
    /// The rate limit of signals.
    pub signal_rate: SignalRate,
    /// The calls in progress and the bytes of unsent answers, per user and for the node.
    pub budget: Arc<Budget>,
    /// The cache of each room's newest pages.
    pub pages: PageCache,
    /// The scheduler of page reads.
    pub turns: Turns,
    /// The number of pages that are read for one user at a time. A CLIENT token has twice as many.
    pub turns_per_user: usize,
}

/// The number of pages that are read and encoded at a time, per database connection for reads.
const TURNS_A_READER: usize = 4;
/// Default number of database connections for reads.
const READERS: usize = 4;

impl AppContext {
    /// Builds a context on a store. All counters start at zero, and signals are dropped until [`AppContext::with_signals`].
    pub fn new(
        store: Arc<dyn Store>,
        authority: Arc<Authority>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        lifetimes: TokenLifetimes,
    ) -> Self {
        let rate = |what| RateLimiter::new(limits.messages_per_second, limits.message_burst).counted(what);
        let (post_rate, change_rate) = (rate("message"), rate("change"));
        let read_rate = RateLimiter::new(limits.reads_per_second, limits.read_burst).counted("read");
        let budget = Arc::new(Budget::new(&limits));
        let (turns, turns_per_user) = turns(READERS);
        let pages = PageCache::default();
        Self {
            store,
            authority,
            clock,
            limits,
            lifetimes,
            post_rate,
            change_rate,
            read_rate,
            signals: Arc::new(NoSignals),
            signal_rate: SignalRate::default(),
            budget,
            pages,
            turns,
            turns_per_user,
        }
    }

    /// Sets the sink for signals.
    #[must_use]
    pub fn with_signals(self, signals: Arc<dyn SignalSink>) -> Self {
        Self { signals, ..self }
    }

    /// Sizes the turns for a store with this many connections for reads.
    #[must_use]
    pub fn with_readers(self, readers: usize) -> Self {
        let (turns, turns_per_user) = turns(readers);
        Self { turns, turns_per_user, ..self }
    }

    /// Counts a read against its user. CLIENT tokens are exempt.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn count_read(&self, caller: &Caller) -> Result<(), Error> {
        if caller.may_name_others() {
            return Ok(());
        }
        self.read_rate.take(caller.user.id, self.clock.monotonic()).map_err(|wait| Error::RateLimited(RateLimited::Reads, wait))
    }

    /// The account against which the caller's calls and answers are counted: its user's, or for CLIENT tokens the node's.
    pub fn owner(&self, caller: &Caller) -> Owner {
        Owner::new(self.budget.clone(), (!caller.may_name_others()).then_some(caller.user.id))
    }

    /// Waits for a turn to read a page for a join. A user has twice as many of these turns. When many connections of one user
    /// reconnect, their pages are short, and their replays grow while they wait.
    pub async fn turn_to_join(&self, caller: &Caller) -> Turn {
        self.turns.take(caller.user.id, 2 * self.turns_per_user).await
    }

    /// Waits for a turn to read a page and encode it.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] if the user's or the node's budget for unsent answers is used up.
    pub async fn turn(&self, caller: &Caller) -> Result<Turn, Error> {
        let account = self.owner(caller).account();
        // An answer that exceeds the budget is not read from the database.
        let check = || if account.may_grow() { Ok(()) } else { Err(Error::from(Unavailable::Overloaded)) };
        check()?;
        // A CLIENT token reads on behalf of many users.
        let most = if caller.may_name_others() { 2 * self.turns_per_user } else { self.turns_per_user };
        let turn = self.turns.take(caller.user.id, most).await;
        // Other answers may have used up the budget during the wait.
        check()?;
        Ok(turn)
    }

    /// Counts a change other than a message against its user. CLIENT tokens are exempt.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn count_change(&self, caller: &Caller) -> Result<(), Error> {
        if caller.may_name_others() {
            return Ok(());
        }
        self.change_rate
            .take(caller.user.id, self.clock.monotonic())
            .map_err(|wait| Error::RateLimited(RateLimited::Changes, wait))
    }
}

/// The node's turns, and the number that one user has. That number is low enough that one user's pages leave a database
/// connection and a processor to other users.
fn turns(readers: usize) -> (Turns, usize) {
    (Turns::new(TURNS_A_READER * readers), (readers / 2).max(1))
}

/// Lifetimes of tokens whose call sets none.
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
