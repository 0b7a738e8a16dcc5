//! What the writer remembers from one transaction to the next, so that a message needs no look-up of its room, its author and the
//! membership.
//!
//! It can't be stale: the file is ours alone while a transaction lasts, and before each the file is asked whether another
//! connection has changed it since. What our own connection changes is changed here, or all is forgotten.

use std::collections::{HashMap, HashSet};

use chatsphere_core::{RoomId, UserId};

use crate::write::database::{Author, RoomHead};

/// Entries beyond which it begins anew: some megabytes.
const MOST: usize = 32_768;

#[derive(Debug, Default)]
pub(super) struct Known {
    /// The file's version that this was read in.
    version: i64,
    pub(super) rooms: HashMap<RoomId, RoomHead>,
    pub(super) authors: HashMap<UserId, Author>,
    pub(super) members: HashSet<(RoomId, UserId)>,
}

impl Known {
    /// A transaction begins and finds the file in this version, which changes when another connection writes. Answers whether it has.
    pub(super) fn begin(&mut self, version: i64) -> bool {
        let changed = version != self.version;
        if changed || self.rooms.len() + self.authors.len() + self.members.len() > MOST {
            *self = Self { version, ..Self::default() };
        }
        changed
    }

    /// Something has changed that is not followed here.
    pub(super) fn forget(&mut self) {
        *self = Self { version: self.version, ..Self::default() };
    }
}
