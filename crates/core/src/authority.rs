//! The current rights of every token: one cache of tokens, roles and disabled users, invalidated by the control log.
//!
//! A token's row is read from the store once and cached until the control log names it. When the log names a user, the user's
//! row is read again, once for all of the user's tokens. The log is read every [`POLL_INTERVAL`], and by each op that wrote to
//! the log before the op returns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::bounded_map::BoundedMap;
use crate::caller::{Caller, TokenState};
use crate::control::{ControlChange, ControlPosition};
use crate::error::{Error, TokenRefusal, Unavailable};
use crate::ids::{TokenId, UserId};
use crate::model::User;
use crate::store::Store;
use crate::time::{Clock, Monotonic};

/// How often the control log is polled. A change must be effective on every node within a second.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A node that has not read the control log for this long refuses all calls.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// The largest weight of the cache. A token weighs one, and every eighth room in its permissions one more. This is about 100
/// MB.
const MAX_KEPT: usize = 200_000;

/// Entries read from the control log at a time.
const POLL_PAGE: usize = 500;

/// The subject of a change in the control log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affected {
    /// This token was revoked.
    Token(TokenId),
    /// This user's name, role or state changed.
    User(UserId),
}

/// Checks the rights of callers again that outlive a call, such as those of open WebSockets.
#[async_trait]
pub trait AuthorityListener: Send + Sync {
    /// The authority calls this after reading changes to these tokens and users. `None` means that any may have changed,
    /// because entries of the log were missed. The listener looks each affected caller up again with [`Authority::caller`]. The
    /// change counts as effective on this node when this returns. Calls may overlap.
    async fn authority_changed(&self, affected: Option<&[Affected]>);
}

/// The cache of tokens and their rights.
pub struct Authority {
    clock: Arc<dyn Clock>,
    cache: Mutex<CallerCache>,
    /// When the control log was last read to its end, in microseconds of the monotonic clock.
    fresh_at: AtomicU64,
    /// The same for the last reading up to which the listener has been notified of every change.
    settled_at: AtomicU64,
    listener: Mutex<Option<Weak<dyn AuthorityListener>>>,
    /// Serialises readings of the log. A caller that waited for the lock finds the log read. The lock is not held during the
    /// listener's call, which may take long.
    polling: tokio::sync::Mutex<()>,
    notifications: Mutex<Notifications>,
    /// Wakes the waiting calls of [`Authority::notify`] when a notification completed or was abandoned.
    progress: Notify,
}

struct CallerCache {
    tokens: BoundedMap<TokenId, Entry>,
    of_user: HashMap<UserId, HashSet<TokenId>>,
    position: ControlPosition,
    /// Increases with every change. A row that was read before a change is not cached after it.
    generation: u64,
}

struct Entry {
    state: TokenState,
    /// The user's row must be read again before the entry is used.
    is_stale: bool,
}

/// The number of a reading of the control log, for [`Authority::notify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

/// The readings whose notification is pending, or was completed before that of an earlier reading.
#[derive(Default)]
struct Notifications {
    /// The number of the first reading in `kept`.
    first: u64,
    kept: VecDeque<Tell>,
}

struct Tell {
    affected: Arc<Option<Vec<Affected>>>,
    state: TellState,
    /// When this reading began, if it reached the end of the log.
    ended: Option<Monotonic>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TellState {
    Waiting,
    UnderWay,
    Done,
}

/// The next step of [`Authority::notify`].
enum Next {
    /// Notify the listener of this reading.
    Tell(u64, Arc<Option<Vec<Affected>>>),
    /// Wait for other tasks that notify it.
    Wait,
    /// Every reading up to the wanted one is complete.
    Nothing,
}

impl Authority {
    /// An empty cache that counts as fresh. The caller has just read `position` from the store.
    pub fn new(clock: Arc<dyn Clock>, position: ControlPosition) -> Self {
        let now = micros(clock.monotonic());
        Self {
            clock,
            cache: Mutex::new(CallerCache::new(position)),
            fresh_at: AtomicU64::new(now),
            settled_at: AtomicU64::new(now),
            listener: Mutex::new(None),
            polling: tokio::sync::Mutex::new(()),
            notifications: Mutex::default(),
            progress: Notify::new(),
        }
    }

    /// Sets the listener for later changes.
    pub fn set_listener(&self, listener: Weak<dyn AuthorityListener>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// The caller of a token. The token's signature must have been verified.
    ///
    /// # Errors
    /// [`Error::Token`] if the token is unknown, expired or revoked, or its user is disabled; [`Unavailable::AuthorityStale`]
    /// if the control log could not be read for 10 s; errors of the store.
    pub async fn caller(&self, store: &dyn Store, token: TokenId) -> Result<Arc<Caller>, Error> {
        self.check_fresh()?;
        let now = self.clock.now();
        let (generation, user) = {
            let mut known = self.cache();
            let generation = known.generation;
            match known.tokens.get(&token) {
                Some(entry) if !entry.is_stale => return Ok(entry.state.judge(now)?.clone()),
                entry => (generation, entry.map(|entry| entry.state.user_id())),
            }
        };
        if let Some(user) = user
            && let Some(row) = store.user(user).await?
        {
            let mut known = self.cache();
            if known.generation == generation {
                known.refresh(&row);
                if let Some(entry) = known.tokens.get(&token) {
                    return Ok(entry.state.judge(now)?.clone());
                }
            }
        }
        let generation = self.cache().generation;
        let Some(row) = store.token(token).await? else { return Err(TokenRefusal::Invalid.into()) };
        let state = TokenState::from(&row);
        let mut known = self.cache();
        if known.generation == generation {
            known.keep(token, state.clone());
        }
        drop(known);
        Ok(state.judge(now)?.clone())
    }

    /// Reads the new entries of the log and waits until the listener has been notified of them. Ops that wrote to the log call
    /// this: every change that was stored before the call is effective when it returns.
    ///
    /// # Errors
    pub async fn poll(&self, store: &dyn Store) -> Result<(), Error> {
        let reading = self.read(store).await?;
        self.notify(reading).await;
        Ok(())
    }

    /// Reads the new entries of the log, which then apply to all later calls. Call this every [`POLL_INTERVAL`];
    /// [`Authority::notify`] then notifies the listener.
    ///
    /// # Errors
    pub async fn read(&self, store: &dyn Store) -> Result<Reading, Error> {
        let _turn = self.polling.lock().await;
        loop {
            let started = self.clock.monotonic();
            let position = self.cache().position;
            let entries = store.control_after(position, POLL_PAGE).await?;
            let end = entries.len() < POLL_PAGE;
            // Positions have no gaps. A gap means that entries were pruned before this node read them.
            let missed = entries.first().is_some_and(|first| first.position.0 != position.0 + 1);
            let affected = {
                let mut known = self.cache();
                known.position = entries.last().map_or(position, |last| last.position);
                match (missed, &*entries) {
                    (true, _) => {
                        known.forget_all();
                        None
                    }
                    (false, []) => Some(Vec::new()),
                    (false, entries) => Some(known.forget(entries.iter().map(|entry| entry.change))),
                }
            };
            // There is no await between moving the position and this line, so the next reader finds this reading among the
            // pending ones.
            let reading = self.notifications().add(affected, end.then_some(started));
            if end {
                self.fresh_at.fetch_max(micros(started), Ordering::SeqCst);
                self.settle();
                return Ok(reading);
            }
        }
    }

    /// Whether the listener has been notified of every reading up to this one.
    pub fn is_notified(&self, reading: Reading) -> bool {
        self.notifications().first > reading.0
    }

    /// Notifies the listener of every reading up to this one, and waits for notifications that other tasks have begun.
    /// Cancel-safe: the next call repeats a notification that was abandoned.
    pub async fn notify(&self, reading: Reading) {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Registered before the state is read, so that no wake-up is lost.
            progress.as_mut().enable();
            let next = self.notifications().next(reading.0);
            match next {
                Next::Nothing => return,
                Next::Wait => progress.await,
                Next::Tell(number, affected) => {
                    let mut telling = Telling { authority: self, number, state: TellState::Waiting };
                    self.notify_listener(affected.as_deref()).await;
                    telling.state = TellState::Done;
                }
            }
        }
    }

    /// [`Authority::poll`] for an op whose change is stored. If it fails, the change is durable but may not be effective yet.
    ///
    /// # Errors
    /// [`Unavailable::OutcomeUnknown`].
    pub(crate) async fn poll_after_change(&self, store: &dyn Store) -> Result<(), Error> {
        self.poll(store).await.map_err(|_| Unavailable::OutcomeUnknown.into())
    }

    /// Checks that the control log was read recently enough to decide about rights. The monotonic clock measures this, so that
    /// setting the wall clock back does not extend trust in old readings.
    ///
    /// # Errors
    /// [`Unavailable::AuthorityStale`].
    pub fn check_fresh(&self) -> Result<(), Unavailable> {
        if self.is_stale(&self.fresh_at) { Err(Unavailable::AuthorityStale) } else { Ok(()) }
    }

    /// Whether the listener has been notified of a recent reading. Only then may events be sent to callers that outlive a call.
    pub fn is_settled(&self) -> bool {
        !self.is_stale(&self.settled_at)
    }

    fn is_stale(&self, at: &AtomicU64) -> bool {
        let read = Monotonic::from_start(Duration::from_micros(at.load(Ordering::SeqCst)));
        read.until(self.clock.monotonic()) > STALE_AFTER
    }

    async fn notify_listener(&self, affected: Option<&[Affected]>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        if let Some(listener) = listener {
            listener.authority_changed(affected).await;
        }
    }

    /// Records the last reading up to which all notifications are complete.
    fn settle(&self) {
        if let Some(settled) = self.notifications().forget_done() {
            self.settled_at.fetch_max(micros(settled), Ordering::SeqCst);
        }
    }

    fn cache(&self) -> MutexGuard<'_, CallerCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notifications(&self) -> MutexGuard<'_, Notifications> {
        self.notifications.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(reading: Monotonic) -> u64 {
    u64::try_from(reading.since_start().as_micros()).unwrap_or(u64::MAX)
}

/// Records the outcome of a notification on drop, so that one that was abandoned is repeated.
struct Telling<'a> {
    authority: &'a Authority,
    number: u64,
    state: TellState,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.authority.notifications().set(self.number, self.state);
        self.authority.settle();
        self.authority.progress.notify_waiters();
    }
}

impl Notifications {
    fn add(&mut self, affected: Option<Vec<Affected>>, ended: Option<Monotonic>) -> Reading {
        let state = if affected.as_ref().is_some_and(Vec::is_empty) { TellState::Done } else { TellState::Waiting };
        self.kept.push_back(Tell { affected: Arc::new(affected), state, ended });
        Reading(self.first + self.kept.len() as u64 - 1)
    }

    fn next(&mut self, up_to: u64) -> Next {
        let mut next = Next::Nothing;
        for (tell, number) in self.kept.iter_mut().zip(self.first..=up_to) {
            match tell.state {
                TellState::Waiting => {
                    tell.state = TellState::UnderWay;
                    return Next::Tell(number, tell.affected.clone());
                }
                TellState::UnderWay => next = Next::Wait,
                TellState::Done => {}
            }
        }
        next
    }

    fn set(&mut self, number: u64, state: TellState) {
        let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(tell) = place.and_then(|place| self.kept.get_mut(place)) {
            tell.state = state;
        }
    }

    /// Removes the leading readings whose notification is complete. Returns the time of the last one that reached the end of
    /// the log.
    fn forget_done(&mut self) -> Option<Monotonic> {
        let mut settled = None;
        while self.kept.front().is_some_and(|tell| tell.state == TellState::Done) {
            settled = self.kept.pop_front().and_then(|tell| tell.ended).or(settled);
            self.first += 1;
        }
        settled
    }
}

impl CallerCache {
    fn new(position: ControlPosition) -> Self {
        Self { tokens: BoundedMap::new(MAX_KEPT), of_user: HashMap::new(), position, generation: 0 }
    }

    fn keep(&mut self, token: TokenId, state: TokenState) {
        self.of_user.entry(state.user_id()).or_default().insert(token);
        let weight = state.weight();
        for (removed, entry) in self.tokens.insert(token, Entry { state, is_stale: false }, weight) {
            self.unlist(removed, entry.state.user_id());
        }
    }

    fn remove(&mut self, token: TokenId) {
        if let Some(entry) = self.tokens.remove(&token) {
            self.unlist(token, entry.state.user_id());
        }
    }

    fn unlist(&mut self, token: TokenId, user: UserId) {
        if let Some(tokens) = self.of_user.get_mut(&user) {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.of_user.remove(&user);
            }
        }
    }

    fn forget_all(&mut self) {
        self.generation += 1;
        self.tokens.clear();
        self.of_user.clear();
    }

    /// Invalidates the subjects of these changes, and returns each subject once.
    fn forget(&mut self, changes: impl Iterator<Item = ControlChange>) -> Vec<Affected> {
        self.generation += 1;
        let mut seen = HashSet::new();
        let mut affected = Vec::new();
        for change in changes.filter(|change| seen.insert(*change)) {
            affected.push(match change {
                ControlChange::Token(token) => {
                    self.remove(token);
                    Affected::Token(token)
                }
                ControlChange::User(user) => {
                    for token in self.of_user.get(&user).into_iter().flatten() {
                        if let Some(entry) = self.tokens.get(token) {
                            entry.is_stale = true;
                        }
                    }
                    Affected::User(user)
                }
            });
        }
        affected
    }

    /// Applies a user's row to all cached tokens of the user.
    fn refresh(&mut self, row: &User) {
        for token in self.of_user.get(&row.id).into_iter().flatten() {
            if let Some(entry) = self.tokens.get(token) {
                *entry = Entry { state: entry.state.with_user(row), is_stale: false };
            }
        }
    }
}
