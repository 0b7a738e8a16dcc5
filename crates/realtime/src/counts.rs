//! Counters of one name that differ in one label, whose few values are words of the code.

use std::sync::{PoisonError, RwLock};

use metrics::{Counter, counter};

/// Takes each counter's handle once. Only words of the code are counted by, so there is a bounded number of them.
pub struct Counts {
    name: &'static str,
    /// A label that all have, if any.
    common: Option<(&'static str, &'static str)>,
    label: &'static str,
    known: RwLock<Vec<(&'static str, Counter)>>,
}

impl Counts {
    /// Counters of this name, told apart by this label.
    pub const fn new(name: &'static str, common: Option<(&'static str, &'static str)>, label: &'static str) -> Self {
        Self { name, common, label, known: RwLock::new(Vec::new()) }
    }

    /// Counts one more of this word.
    pub fn count(&self, word: &'static str) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(known, _)| *known == word) {
            return counter.increment(1);
        }
        drop(known);
        let counter = match self.common {
            Some((common, value)) => counter!(self.name, common => value, self.label => word),
            None => counter!(self.name, self.label => word),
        };
        counter.increment(1);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.iter().all(|(known, _)| *known != word) {
            known.push((word, counter));
        }
    }
}
