//! What the writer remembers from one transaction to the next, so that a message needs no look-up of its room, its author, the
//! membership, and the token on whose behalf it is written.
//!
//! It can't be stale: the file is ours alone while a transaction lasts, and before each the file is asked whether another
//! connection has changed it since. What our own connection changes is changed here, or all is forgotten.

use chatsphere_core::{RoomId, TokenId, TokenState, UserId};
use rusqlite::{Connection, Result};

use crate::sqlite::read;
use crate::write::database::{Author, IdMap, IdSet, RoomHead};

/// Entries beyond which it begins anew: some megabytes.
const MOST: usize = 32_768;

#[derive(Debug, Default)]
pub(super) struct Known {
    /// The file's version that this was read in.
    version: i64,
    pub(super) rooms: IdMap<RoomId, RoomHead>,
    pub(super) authors: IdMap<UserId, Author>,
    pub(super) members: IdSet<(RoomId, UserId)>,
    tokens: IdMap<TokenId, TokenState>,
    /// What the tokens take, in entries.
    tokens_weight: usize,
}

impl Known {
    /// A transaction begins and finds the file in this version, which changes when another connection writes. Answers whether it has.
    pub(super) fn begin(&mut self, version: i64) -> bool {
        let changed = version != self.version;
        if changed || self.rooms.len() + self.authors.len() + self.members.len() + self.tokens_weight > MOST {
            *self = Self { version, ..Self::default() };
        }
        changed
    }

    /// Within a transaction: who calls by a token, if it exists.
    pub(super) fn token(&mut self, connection: &Connection, id: TokenId) -> Result<Option<&TokenState>> {
        if !self.tokens.contains_key(&id) {
            let Some(row) = read::tokens::token(connection, id)? else { return Ok(None) };
            let state = TokenState::from(&row);
            self.tokens_weight += state.weight();
            self.tokens.insert(id, state);
        }
        Ok(self.tokens.get(&id))
    }

    /// Tokens have been revoked.
    pub(super) fn forget_tokens(&mut self) {
        self.tokens.clear();
        self.tokens_weight = 0;
    }

    /// Something has changed that is not followed here.
    pub(super) fn forget(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }
}
