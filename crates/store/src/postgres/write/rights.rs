//! The tokens that this connection has looked up before, so that a message needs no look-up of the token on whose behalf it is
//! written.
//!
//! They can't be stale. A transaction that takes rights away has no other beside it on the database ([`GUARD_ALONE`]), so that
//! they are what they were when a transaction began for as long as it lasts. It begins by comparing the control log's position
//! with the one that this was read at, and forgets what the entries between name. What the transaction itself changes is
//! forgotten at once, and everything when it is undone or the connection ends.

use chatsphere_core::{BoundedMap, ControlChange, ControlEntry, TokenId, TokenState};

/// Held by every transaction that writes on somebody's behalf. Two may hold it; the number says nothing, it only has to be the
/// same everywhere. The second part keeps installations in different schemas of a database apart.
pub(super) const GUARD: &str = "SELECT pg_advisory_xact_lock_shared(484679158, hashtext(current_schema()))";
/// Held by a transaction that takes rights away: waits for those that hold [`GUARD`], and keeps new ones waiting.
pub(super) const GUARD_ALONE: &str = "SELECT pg_advisory_xact_lock(484679158, hashtext(current_schema()))";
/// After the lock, in a statement of its own: a statement sees what was committed before it began.
pub(super) const POSITION: &str = "SELECT position FROM control_head WHERE one = 1";

/// Entries of the control log that are followed; if there are more, everything is forgotten.
pub(super) const MAX_FOLLOWED: usize = 500;
/// What the tokens may weigh: some megabytes.
const MAX_WEIGHT: usize = 32_768;

#[derive(Debug)]
pub(super) struct Rights {
    /// The control log's position that all below is as new as.
    pub(super) position: u64,
    tokens: BoundedMap<TokenId, TokenState>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { position: 0, tokens: BoundedMap::new(MAX_WEIGHT) }
    }
}

impl Rights {
    /// A transaction begins and finds the control log at `position`: whether its entries since must be followed first.
    pub(super) fn begin(&mut self, position: u64) -> bool {
        if self.tokens.is_empty() || position < self.position {
            *self = Self { position, ..Self::default() };
        }
        self.position != position
    }

    /// Forgets what these entries name, the first after `self.position`; or everything, if some are missing.
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
