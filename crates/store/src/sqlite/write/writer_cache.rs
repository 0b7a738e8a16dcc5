//! What the writer remembers from one transaction to the next, so that a message needs no look-up of its room, its author, the
//! membership, and the token on whose behalf it is written.
//!
//! It can't be stale: the file is ours alone while a transaction lasts, and before each the file is asked whether another
//! connection has changed it since. What our own connection changes is changed here, or all is forgotten.

use chatsphere_core::{BoundedMap, RoomId, TokenId, TokenState, UserId};
use rusqlite::{Connection, Result};

use crate::sqlite::read;
use crate::write::database::{Author, RoomHead};

/// Entries of each kind: some megabytes.
const MAX_ENTRIES: usize = 16_384;

#[derive(Debug)]
pub(super) struct WriterCache {
    /// The file's version that this was read in.
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
    /// A transaction begins and finds the file in this version, which changes when another connection writes. Answers whether
    /// it has.
    pub(super) fn begin(&mut self, version: i64) -> bool {
        let changed = version != self.version;
        if changed {
            *self = Self { version, ..Self::default() };
        }
        changed
    }

    /// Within a transaction: who calls by a token, if it exists.
    pub(super) fn token(&mut self, connection: &Connection, id: TokenId) -> Result<Option<TokenState>> {
        if let Some(state) = self.tokens.get(&id) {
            return Ok(Some(state.clone()));
        }
        let Some(row) = read::tokens::token(connection, id)? else { return Ok(None) };
        let state = TokenState::from(&row);
        self.tokens.insert(id, state.clone(), state.weight());
        Ok(Some(state))
    }

    /// Tokens have been revoked.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Something has changed that is not followed here.
    pub(super) fn forget(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }
}
