use std::collections::HashMap;

use tokio::time::Instant;

use crate::judge::record::Tick;

/// A client's position in one room.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The last received event.
    pub(crate) cursor: u64,
    pub(crate) epoch: Option<String>,
    /// Whether it joins again after each reconnect.
    pub(crate) wanted: bool,
    pub(crate) join_state: JoinState,
}

/// The state of the subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum JoinState {
    #[default]
    NotJoined,
    /// The join with this number was sent.
    Asking(u64),
    /// That join was confirmed, and its pages follow.
    Replaying(u64),
    Listening,
    /// The join is repeated at this time.
    Later(Instant),
}

/// A `join` that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) room: usize,
    pub(crate) since: u64,
    pub(crate) at: Tick,
}

/// The unanswered joins of one connection.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    count: u64,
    asked: HashMap<u64, Asked>,
}

impl Joins {
    pub(crate) fn add(&mut self, asked: Asked) -> u64 {
        self.count += 1;
        self.asked.insert(self.count, asked);
        self.count
    }

    /// The join that an answer's `ref` names.
    pub(crate) fn answered(&self, reference: Option<&str>) -> Option<(u64, Asked)> {
        let number = reference?.strip_prefix('j')?.parse().ok()?;
        self.asked.get(&number).map(|asked| (number, *asked))
    }

    /// No more answers to this join may arrive.
    pub(crate) fn end(&mut self, number: u64) {
        self.asked.remove(&number);
    }

    pub(crate) fn at(&self, number: u64) -> Option<Tick> {
        self.asked.get(&number).map(|asked| asked.at)
    }

    pub(crate) fn forget(&mut self) {
        self.asked.clear();
    }
}
