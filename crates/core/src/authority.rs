//! Who may do what at this moment: one look-up for tokens, roles and disabled users, fed by the control log.
//!
//! A token's row is read from the store once and kept until the control log names its token or its user. The log is read
//! every [`POLL_INTERVAL`], and by each op that wrote to it before that op returns.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::caller::{Caller, TokenState};
use async_trait::async_trait;

use crate::control::{ControlChange, ControlPosition};
use crate::error::{Error, Outage, TokenRefusal};
use crate::ids::{TokenId, UserId};
use crate::store::Store;
use crate::time::{Clock, Timestamp};

/// How often the control log is polled: well below the second within which a change must be effective everywhere.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A node that could not read the control log for this long refuses rather than guesses.
pub const STALE_AFTER: Duration = Duration::from_secs(10);

/// How much is kept in memory: tokens, and every eighth room that their permissions name. Beyond it all are forgotten and read
/// anew. About 100 MB.
const MOST_KEPT: usize = 200_000;

/// Entries read from the control log at a time.
const POLL_PAGE: usize = 500;

/// Told when standing callers must be judged anew, such as those behind open sockets.
#[async_trait]
pub trait AuthorityListener: Send + Sync {
    /// These tokens and users changed; `None` is any, after entries of the log were missed. Look each affected caller up again
    /// with [`Authority::caller`]; the change counts as effective on this node when this returns.
    async fn authority_changed(&self, changes: Option<&[ControlChange]>);
}

/// The look-up.
pub struct Authority {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// When the control log was last read to its end, in milliseconds since 1970.
    fresh_at: AtomicI64,
    /// When what the log said had been told to the listener too, likewise.
    settled_at: AtomicI64,
    listener: Mutex<Option<Weak<dyn AuthorityListener>>>,
    /// One poll at a time: those that wait find its work done.
    polling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    tokens: HashMap<TokenId, TokenState>,
    of_user: HashMap<UserId, HashSet<TokenId>>,
    weight: usize,
    position: ControlPosition,
    /// Rises with every change, so that a row read before a change is not kept after it.
    generation: u64,
}

impl Authority {
    /// Knows nothing yet, and is fresh: `position` was read from the store just now.
    pub fn new(clock: Arc<dyn Clock>, position: ControlPosition) -> Self {
        let now = clock.now().as_millis();
        Self {
            clock,
            known: Mutex::new(Known { position, ..Known::default() }),
            fresh_at: AtomicI64::new(now),
            settled_at: AtomicI64::new(now),
            listener: Mutex::new(None),
            polling: tokio::sync::Mutex::new(()),
        }
    }

    /// Whom to tell of changes from now on.
    pub fn set_listener(&self, listener: Weak<dyn AuthorityListener>) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// The caller behind a token whose signature was verified already.
    ///
    /// # Errors
    /// [`Error::Token`] if the token is unknown, expired, revoked or its user disabled; [`Outage::AuthorityStale`] if the
    /// control log could not be read for 10 s; whatever the store answers.
    pub async fn caller(&self, store: &dyn Store, token: TokenId) -> Result<Arc<Caller>, Error> {
        let now = self.clock.now();
        self.check_fresh(now)?;
        let generation = {
            let known = self.known();
            if let Some(entry) = known.tokens.get(&token) {
                return Ok(entry.judge(now)?.clone());
            }
            known.generation
        };
        let Some(row) = store.token(token).await? else { return Err(TokenRefusal::Invalid.into()) };
        let entry = TokenState::from(&row);
        let mut known = self.known();
        if known.generation == generation {
            known.keep(token, entry.clone());
        }
        drop(known);
        Ok(entry.judge(now)?.clone())
    }

    /// Reads what the log has beyond what was read before. To be called every [`POLL_INTERVAL`], and by ops that wrote to the log.
    ///
    /// # Errors
    /// Whatever the store answers; the next call goes on where this one stopped.
    pub async fn poll(&self, store: &dyn Store) -> Result<(), Error> {
        // Whoever returns from here knows that every change before the call is effective: its own poll saw it, or the one
        // before, which has ended.
        let _turn = self.polling.lock().await;
        loop {
            let started = self.clock.now();
            let position = self.known().position;
            let entries = store.control_after(position, POLL_PAGE).await?;
            let end = entries.len() < POLL_PAGE;
            let changes: Vec<ControlChange> = entries.iter().map(|entry| entry.change).collect();
            // Positions have no gaps: where one is, entries were pruned before this node, long away, had read them.
            let missed = entries.first().is_some_and(|first| first.position.0 != position.0 + 1);
            let told = (!missed).then_some(&*changes);
            if !entries.is_empty() {
                self.known().forget(told);
            }
            if end {
                // Before the telling, which may take a while: from here on new calls are judged by what was read.
                self.fresh_at.store(started.as_millis(), Ordering::SeqCst);
            }
            if let Some(last) = entries.last() {
                self.tell(told).await;
                // Only now: if whoever polls vanishes before, the next poll tells again.
                self.known().position = last.position;
            }
            if end {
                self.settled_at.store(started.as_millis(), Ordering::SeqCst);
                return Ok(());
            }
        }
    }

    /// [`Authority::poll`], for an op whose change is stored already: where this fails, its caller can't know what is effective.
    ///
    /// # Errors
    /// [`Outage::OutcomeUnknown`].
    pub(crate) async fn poll_after_change(&self, store: &dyn Store) -> Result<(), Error> {
        self.poll(store).await.map_err(|_| Outage::OutcomeUnknown.into())
    }

    /// Whether the control log was read lately enough to judge.
    ///
    /// # Errors
    /// [`Outage::AuthorityStale`].
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), Outage> {
        if is_stale(&self.fresh_at, now) { Err(Outage::AuthorityStale) } else { Ok(()) }
    }

    /// Whether standing callers were judged by what the control log said lately: only then may what others wrote be sent to
    /// them.
    pub fn is_settled(&self) -> bool {
        !is_stale(&self.settled_at, self.clock.now())
    }

    async fn tell(&self, changes: Option<&[ControlChange]>) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        if let Some(listener) = listener {
            listener.authority_changed(changes).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stale(at: &AtomicI64, now: Timestamp) -> bool {
    Timestamp::from_millis(at.load(Ordering::SeqCst)).until(now) > STALE_AFTER
}

impl Known {
    fn keep(&mut self, token: TokenId, entry: TokenState) {
        if self.weight >= MOST_KEPT {
            self.tokens.clear();
            self.of_user.clear();
            self.weight = 0;
        }
        self.of_user.entry(entry.user_id()).or_default().insert(token);
        self.weight += entry.weight();
        if let Some(before) = self.tokens.insert(token, entry) {
            self.weight -= before.weight();
        }
    }

    fn remove(&mut self, token: TokenId) {
        let Some(entry) = self.tokens.remove(&token) else { return };
        self.weight -= entry.weight();
        let user = entry.user_id();
        if let Some(tokens) = self.of_user.get_mut(&user) {
            tokens.remove(&token);
            if tokens.is_empty() {
                self.of_user.remove(&user);
            }
        }
    }

    /// `None` forgets everything.
    fn forget(&mut self, changes: Option<&[ControlChange]>) {
        self.generation += 1;
        let Some(changes) = changes else {
            (self.tokens, self.of_user, self.weight) = Default::default();
            return;
        };
        for change in changes {
            match change {
                ControlChange::Token(token) => self.remove(*token),
                ControlChange::User(user) => {
                    for token in self.of_user.get(user).cloned().unwrap_or_default() {
                        self.remove(token);
                    }
                }
            }
        }
    }
}
