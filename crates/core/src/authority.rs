//! Who may do what at this moment: one look-up for tokens, roles and disabled users, fed by the control log.
//!
//! A token's row is read from the store once and kept until the control log names it. When the log names a user, that user's
//! row is read once more, for all of their tokens. The log is read every [`POLL_INTERVAL`], and by each op that wrote to it
//! before that op returns.

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

/// How often the control log is polled: well below the second within which a change must be effective everywhere.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A node that could not read the control log for this long refuses rather than guesses.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// How much is kept in memory: tokens, and every eighth room that their permissions name. About 100 MB.
const MAX_KEPT: usize = 200_000;

/// Entries read from the control log at a time.
const POLL_PAGE: usize = 500;

/// What a change in the control log concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affected {
    /// This token was revoked.
    Token(TokenId),
    /// This user's name, role or state changed.
    User(UserId),
}

/// Told when standing callers must be judged anew, such as those behind open sockets.
#[async_trait]
pub trait AuthorityListener: Send + Sync {
    /// These tokens and users changed; `None` is any, after entries of the log were missed. Look each affected caller up again
    /// with [`Authority::caller`]; the change counts as effective on this node when this returns. Several calls may be under
    /// way at once.
    async fn authority_changed(&self, affected: Option<&[Affected]>);
}

/// The look-up.
pub struct Authority {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// When the control log was last read to its end, in microseconds of the monotonic clock.
    fresh_at: AtomicU64,
    /// When what the log said had been told to the listener too, likewise.
    settled_at: AtomicU64,
    listener: Mutex<Option<Weak<dyn AuthorityListener>>>,
    /// One reader of the log at a time: those that wait find its work done. Not held while the listener is told, which may take
    /// long.
    polling: tokio::sync::Mutex<()>,
    tells: Mutex<Tells>,
    /// A change was told, or is to be told by somebody else.
    told: Notify,
}

struct Known {
    tokens: BoundedMap<TokenId, Entry>,
    of_user: HashMap<UserId, HashSet<TokenId>>,
    position: ControlPosition,
    /// Rises with every change, so that a row read before a change is not kept after it.
    generation: u64,
}

struct Entry {
    state: TokenState,
    /// The user's row is to be read again first.
    is_stale: bool,
}

/// A reading of the control log, of which the listener is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

/// What was read and is not told yet, or is told out of order.
#[derive(Default)]
struct Tells {
    /// The number of the first that is kept.
    first: u64,
    kept: VecDeque<Tell>,
}

struct Tell {
    affected: Arc<Option<Vec<Affected>>>,
    state: TellState,
    /// When the log was read to its end by this reading.
    ended: Option<Monotonic>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TellState {
    Waiting,
    UnderWay,
    Told,
}

/// Who waits for a reading to be told does this next.
enum Next {
    /// Tells the listener of this one.
    Tell(u64, Arc<Option<Vec<Affected>>>),
    /// Waits for others who do.
    Wait,
    /// All is told.
    Nothing,
}

impl Authority {
    /// Knows nothing yet, and is fresh: `position` was read from the store just now.
    pub fn new(clock: Arc<dyn Clock>, position: ControlPosition) -> Self {
        let now = micros(clock.monotonic());
        Self {
            clock,
            known: Mutex::new(Known::new(position)),
            fresh_at: AtomicU64::new(now),
            settled_at: AtomicU64::new(now),
            listener: Mutex::new(None),
            polling: tokio::sync::Mutex::new(()),
            tells: Mutex::default(),
            told: Notify::new(),
        }
    }

    /// Whom to tell of changes from now on.
    pub fn set_listener(&self, listener: Weak<dyn AuthorityListener>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// The caller behind a token whose signature was verified already.
    ///
    /// # Errors
    /// [`Error::Token`] if the token is unknown, expired, revoked or its user disabled; [`Unavailable::AuthorityStale`] if the
    /// control log could not be read for 10 s; whatever the store answers.
    pub async fn caller(&self, store: &dyn Store, token: TokenId) -> Result<Arc<Caller>, Error> {
        self.check_fresh()?;
        let now = self.clock.now();
        let (generation, user) = {
            let mut known = self.known();
            let generation = known.generation;
            match known.tokens.get(&token) {
                Some(entry) if !entry.is_stale => return Ok(entry.state.judge(now)?.clone()),
                entry => (generation, entry.map(|entry| entry.state.user_id())),
            }
        };
        if let Some(user) = user
            && let Some(row) = store.user(user).await?
        {
            let mut known = self.known();
            if known.generation == generation {
                known.refresh(&row);
                if let Some(entry) = known.tokens.get(&token) {
                    return Ok(entry.state.judge(now)?.clone());
                }
            }
        }
        let generation = self.known().generation;
        let Some(row) = store.token(token).await? else { return Err(TokenRefusal::Invalid.into()) };
        let state = TokenState::from(&row);
        let mut known = self.known();
        if known.generation == generation {
            known.keep(token, state.clone());
        }
        drop(known);
        Ok(state.judge(now)?.clone())
    }

    /// Reads what the log has beyond what was read before, and waits until the listener has been told. For ops that wrote to
    /// the log: every change that was stored before this call is effective when it returns.
    ///
    /// # Errors
    /// Whatever the store answers; the next call goes on where this one stopped.
    pub async fn poll(&self, store: &dyn Store) -> Result<(), Error> {
        let reading = self.read(store).await?;
        self.tell(reading).await;
        Ok(())
    }

    /// Reads what the log has beyond what was read before: from then on calls are judged by it. To be called every
    /// [`POLL_INTERVAL`]; what was read is to be told with [`Authority::tell`].
    ///
    /// # Errors
    /// Whatever the store answers; the next call goes on where this one stopped.
    pub async fn read(&self, store: &dyn Store) -> Result<Reading, Error> {
        let _turn = self.polling.lock().await;
        loop {
            let started = self.clock.monotonic();
            let position = self.known().position;
            let entries = store.control_after(position, POLL_PAGE).await?;
            let end = entries.len() < POLL_PAGE;
            // Positions have no gaps: where one is, entries were pruned before this node, long away, had read them.
            let missed = entries.first().is_some_and(|first| first.position.0 != position.0 + 1);
            let affected = {
                let mut known = self.known();
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
            // Without a wait since the position was moved: whoever reads on finds this among what is to be told.
            let reading = self.tells().add(affected, end.then_some(started));
            if end {
                self.fresh_at.fetch_max(micros(started), Ordering::SeqCst);
                self.settle();
                return Ok(reading);
            }
        }
    }

    /// Whether the listener has been told of all that was read up to then.
    pub fn is_told(&self, reading: Reading) -> bool {
        self.tells().first > reading.0
    }

    /// Tells the listener of all that was read up to then, unless others are doing so, for whom it waits. May be dropped at any
    /// time: what was not told is told by the next call.
    pub async fn tell(&self, reading: Reading) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            // Registered before the look, so that what happens in between is not missed.
            told.as_mut().enable();
            let next = self.tells().next(reading.0);
            match next {
                Next::Nothing => return,
                Next::Wait => told.await,
                Next::Tell(number, affected) => {
                    let mut telling = Telling { authority: self, number, state: TellState::Waiting };
                    self.tell_listener(affected.as_deref()).await;
                    telling.state = TellState::Told;
                }
            }
        }
    }

    /// [`Authority::poll`], for an op whose change is stored already: where this fails, its caller can't know what is
    /// effective.
    ///
    /// # Errors
    /// [`Unavailable::OutcomeUnknown`].
    pub(crate) async fn poll_after_change(&self, store: &dyn Store) -> Result<(), Error> {
        self.poll(store).await.map_err(|_| Unavailable::OutcomeUnknown.into())
    }

    /// Whether the control log was read lately enough to judge. Measured by the monotonic clock: a wall clock that is set back
    /// must not make a node trust what it read long ago.
    ///
    /// # Errors
    /// [`Unavailable::AuthorityStale`].
    pub fn check_fresh(&self) -> Result<(), Unavailable> {
        if self.is_stale(&self.fresh_at) { Err(Unavailable::AuthorityStale) } else { Ok(()) }
    }

    /// Whether standing callers were judged by what the control log said lately: only then may what others wrote be sent to
    /// them.
    pub fn is_settled(&self) -> bool {
        !self.is_stale(&self.settled_at)
    }

    fn is_stale(&self, at: &AtomicU64) -> bool {
        let read = Monotonic::from_start(Duration::from_micros(at.load(Ordering::SeqCst)));
        read.until(self.clock.monotonic()) > STALE_AFTER
    }

    async fn tell_listener(&self, affected: Option<&[Affected]>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        if let Some(listener) = listener {
            listener.authority_changed(affected).await;
        }
    }

    /// Takes note of how far all has been told.
    fn settle(&self) {
        if let Some(settled) = self.tells().forget_told() {
            self.settled_at.fetch_max(micros(settled), Ordering::SeqCst);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tells(&self) -> MutexGuard<'_, Tells> {
        self.tells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(reading: Monotonic) -> u64 {
    u64::try_from(reading.since_start().as_micros()).unwrap_or(u64::MAX)
}

/// Puts down what became of a tell, also where whoever told vanished.
struct Telling<'a> {
    authority: &'a Authority,
    number: u64,
    state: TellState,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.authority.tells().set(self.number, self.state);
        self.authority.settle();
        self.authority.told.notify_waiters();
    }
}

impl Tells {
    fn add(&mut self, affected: Option<Vec<Affected>>, ended: Option<Monotonic>) -> Reading {
        let state = if affected.as_ref().is_some_and(Vec::is_empty) { TellState::Told } else { TellState::Waiting };
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
                TellState::Told => {}
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

    /// Forgets the first that are told. Answers when the last of them was read to the log's end.
    fn forget_told(&mut self) -> Option<Monotonic> {
        let mut settled = None;
        while self.kept.front().is_some_and(|tell| tell.state == TellState::Told) {
            settled = self.kept.pop_front().and_then(|tell| tell.ended).or(settled);
            self.first += 1;
        }
        settled
    }
}

impl Known {
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

    /// What was known of these must be read again. Whom they concern, each once.
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

    /// A user's row was read: all of their tokens stand for what it says.
    fn refresh(&mut self, row: &User) {
        for token in self.of_user.get(&row.id).into_iter().flatten() {
            if let Some(entry) = self.tokens.get(token) {
                *entry = Entry { state: entry.state.with_user(row), is_stale: false };
            }
        }
    }
}
