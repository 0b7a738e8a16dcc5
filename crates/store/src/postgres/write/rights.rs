//! A cache of tokens, so that a message needs no look-up of the token on whose behalf it is written.
//!
//! The tokens can't be stale. A transaction that revokes rights runs alone on the database ([`GUARD_ALONE`]), so tokens do not
//! change during any other transaction. Each transaction first compares the control log's position with that of the cache, and
//! removes the tokens that the entries between them name. What the transaction itself changes is removed at once. After a
//! rollback, or when the connection ends, everything is.

use chatsphere_core::{BoundedMap, ControlChange, ControlEntry, TokenId, TokenState};

/// Takes the lock that every transaction holds that writes on behalf of a user; several may hold it together. The number has no
/// meaning; it must be the same on all nodes. The second part separates installations in different schemas of a database.
pub(super) const GUARD: &str = "SELECT pg_advisory_xact_lock_shared(484679158, hashtext(current_schema()))";
/// Takes the lock of a transaction that revokes rights. It waits for the holders of [`GUARD`], and makes new ones wait.
pub(super) const GUARD_ALONE: &str = "SELECT pg_advisory_xact_lock(484679158, hashtext(current_schema()))";
/// This is a statement of its own after the lock, because a statement sees only what was committed before it began.
pub(super) const POSITION: &str = "SELECT position FROM control_head WHERE one = 1";

/// The largest number of entries of the control log that are read. If there are more, the whole cache is cleared.
pub(super) const MAX_FOLLOWED: usize = 500;
/// The largest weight of the tokens, which take some megabytes.
const MAX_WEIGHT: usize = 32_768;

#[derive(Debug)]
pub(super) struct Rights {
    /// The control log's position up to which the cache is current.
    pub(super) position: u64,
    tokens: BoundedMap<TokenId, TokenState>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { position: 0, tokens: BoundedMap::new(MAX_WEIGHT) }
    }
}

impl Rights {
    /// A transaction begins with the control log at `position`. Returns whether the entries since the cache's position must be
    /// read first.
    pub(super) fn begin(&mut self, position: u64) -> bool {
        if self.tokens.is_empty() || position < self.position {
            *self = Self { position, ..Self::default() };
        }
        self.position != position
    }

    /// Removes the tokens that these entries name. The first entry must follow `self.position`; if entries are missing, the
    /// whole cache is cleared.
    pub(super) fn follow(&mut self, entries: &[ControlEntry], position: u64) {
        let (first, last) = (entries.first(), entries.last());
        let complete = entries.len() <= MAX_FOLLOWED
            && first.is_some_and(|first| first.position.0 == self.position + 1)
            && last.is_some_and(|last| last.position.0 >= position);
        match last {
            Some(last) if complete => {
                self.position = last.position.0;
                self.forget(entries.iter().map(|entry| entry.change));
            }
            _ => *self = Self { position, ..Self::default() },
        }
    }

    pub(super) fn forget(&mut self, changes: impl IntoIterator<Item = ControlChange>) {
        for change in changes {
            match change {
                ControlChange::Token(token) => drop(self.tokens.remove(&token)),
                ControlChange::User(user) => self.tokens.retain(|_, state| state.user_id() != user),
            }
        }
    }

    pub(super) fn keep(&mut self, token: TokenId, state: TokenState) {
        let weight = state.weight();
        self.tokens.insert(token, state, weight);
    }

    pub(super) fn get(&mut self, token: TokenId) -> Option<&TokenState> {
        self.tokens.get(&token).map(|state| &*state)
    }
}
