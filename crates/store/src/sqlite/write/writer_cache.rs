//! A cache of the writer that lasts over transactions, so that a message needs no look-up of its room, its author, the
//! membership, and the token on whose behalf it is written.
//!
//! It can't be stale. During a transaction no other connection can write to the file, and before each transaction SQLite is
//! asked whether another connection has changed the file. Changes by our own connection update or clear the cache.

use chatsphere_core::{BoundedMap, RoomId, TokenId, TokenState, UserId};
use rusqlite::{Connection, Result};

use crate::sqlite::read;
use crate::write::database::{Author, RoomHead};

/// The maximum of entries of each kind, which take some megabytes.
const MAX_ENTRIES: usize = 16_384;

#[derive(Debug)]
pub(super) struct WriterCache {
    /// The version of the file from which the entries were read.
    version: i64,
    pub(super) rooms: BoundedMap<RoomId, RoomHead>,
    pub(super) authors: BoundedMap<UserId, Author>,
    pub(super) members: BoundedMap<(RoomId, UserId), ()>,
    tokens: BoundedMap<TokenId, TokenState>,
}

impl Default for WriterCache {
    fn default() -> Self {
        Self {
            version: 0,
            rooms: BoundedMap::new(MAX_ENTRIES),
            authors: BoundedMap::new(MAX_ENTRIES),
            members: BoundedMap::new(MAX_ENTRIES),
            tokens: BoundedMap::new(MAX_ENTRIES),
        }
    }
}

impl WriterCache {
    /// A transaction begins, and the file has this version, which changes when another connection writes. Returns whether it
    /// has changed.
    pub(super) fn begin(&mut self, version: i64) -> bool {
        let changed = version != self.version;
        if changed {
            *self = Self { version, ..Self::default() };
        }
        changed
    }

    /// Returns the state of a token, if it exists. Called within a transaction.
    pub(super) fn token(&mut self, connection: &Connection, id: TokenId) -> Result<Option<TokenState>> {
        if let Some(state) = self.tokens.get(&id) {
            return Ok(Some(state.clone()));
        }
        let Some(row) = read::tokens::token(connection, id)? else { return Ok(None) };
        let state = TokenState::from(&row);
        self.tokens.insert(id, state.clone(), state.weight());
        Ok(Some(state))
    }

    /// Removes all tokens, because some were revoked.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Clears the cache after a change that does not update it.
    pub(super) fn forget(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }
}
