//! Families of counters that differ in one label with few fixed values.

use std::sync::{PoisonError, RwLock};

use metrics::{Counter, counter};

/// A family of counters that looks up each handle once. Label values are constants of the code, so their number is bounded.
pub struct Counts {
    name: &'static str,
    /// A label and value that all of them share, if any.
    common: Option<(&'static str, &'static str)>,
    label: &'static str,
    known: RwLock<Vec<(&'static str, Counter)>>,
}

impl Counts {
    /// Counters with this name, distinguished by this label.
    pub const fn new(name: &'static str, common: Option<(&'static str, &'static str)>, label: &'static str) -> Self {
        Self { name, common, label, known: RwLock::new(Vec::new()) }
    }

    /// Increments the counter with this label value.
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
