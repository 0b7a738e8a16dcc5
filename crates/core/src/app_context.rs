//! What every op needs.

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

/// The running chat, as ops see it.
pub struct AppContext {
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
    pub post_rate: RateLimiter,
    /// How often users may change anything else; the same measure, counted apart.
    pub change_rate: RateLimiter,
    /// How often users may read over REST.
    pub read_rate: RateLimiter,
    /// Takes what is told to connections and stored nowhere.
    pub signals: Arc<dyn SignalSink>,
    /// How often users may cause them.
    pub signal_rate: SignalRate,
    /// What users have under way.
    pub budget: Arc<Budget>,
    /// The newest pages of rooms.
    pub pages: PageCache,
    /// Whose page is read next.
    pub turns: Turns,
    /// Pages that one user has read at a time; a CLIENT token has twice as many.
    pub turns_per_user: usize,
}

/// Pages that are read and encoded at a time, for each connection that reads from the database.
const TURNS_A_READER: usize = 4;
/// Connections that read from the database, unless it is said.
const READERS: usize = 4;

impl AppContext {
    /// A chat upon a store, with nothing counted against anyone yet.
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

    /// The same, whose signals go there.
    #[must_use]
    pub fn with_signals(self, signals: Arc<dyn SignalSink>) -> Self {
        Self { signals, ..self }
    }

    /// The same, upon a store that so many connections read from.
    #[must_use]
    pub fn with_readers(self, readers: usize) -> Self {
        let (turns, turns_per_user) = turns(readers);
        Self { turns, turns_per_user, ..self }
    }

    /// Counts a read against its user. A backend's CLIENT token is not bounded.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn count_read(&self, caller: &Caller) -> Result<(), Error> {
        if caller.may_name_others() {
            return Ok(());
        }
        self.read_rate.take(caller.user.id, self.clock.monotonic()).map_err(|wait| Error::RateLimited(RateLimited::Reads, wait))
    }

    /// Whose calls and answers count together: a user's. Those of CLIENT tokens count for the node alone.
    pub fn owner(&self, caller: &Caller) -> Owner {
        Owner::new(self.budget.clone(), (!caller.may_name_others()).then_some(caller.user.id))
    }

    /// Waits for a turn to read a page for a join. A user's connections that come back together have as many as there are
    /// readers: their pages are short, and what they replay grows while they wait.
    pub async fn turn_to_join(&self, caller: &Caller) -> Turn {
        self.turns.take(caller.user.id, 2 * self.turns_per_user).await
    }

    /// Waits for a turn to read a page and encode it.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] if the user, or the node, has as much under way as may be.
    pub async fn turn(&self, caller: &Caller) -> Result<Turn, Error> {
        let account = self.owner(caller).account();
        // Nothing is to be read for an answer that could not be kept.
        let check = || if account.may_grow() { Ok(()) } else { Err(Error::from(Unavailable::Overloaded)) };
        check()?;
        // A CLIENT token asks for many users.
        let most = if caller.may_name_others() { 2 * self.turns_per_user } else { self.turns_per_user };
        let turn = self.turns.take(caller.user.id, most).await;
        // Others may have filled the room meanwhile.
        check()?;
        Ok(turn)
    }

    /// Counts a change other than a message against its user. A backend's CLIENT token is not bounded.
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

/// The turns of a node, and how many a user has: so few that one user's pages leave a reader and a processor to the others.
fn turns(readers: usize) -> (Turns, usize) {
    (Turns::new(TURNS_A_READER * readers), (readers / 2).max(1))
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
