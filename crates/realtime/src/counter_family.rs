//! A family of counters: one counter for each value of a label.

use std::sync::{PoisonError, RwLock};

use metrics::{Counter, counter};

/// Counters of one name that differ in one label. Looks up each handle once. Label values are constants of the code, so their
/// number is bounded.
pub struct CounterFamily {
    name: &'static str,
    /// A label and value that all counters share, if any.
    constant_label: Option<(&'static str, &'static str)>,
    label: &'static str,
    counters: RwLock<Vec<(&'static str, Counter)>>,
}

impl CounterFamily {
    /// Counters of this name, one for each value of this label.
    pub const fn new(name: &'static str, constant_label: Option<(&'static str, &'static str)>, label: &'static str) -> Self {
        Self { name, constant_label, label, counters: RwLock::new(Vec::new()) }
    }

    /// Increments the counter with this label value.
    pub fn increment(&self, value: &'static str) {
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = counters.iter().find(|(known, _)| *known == value) {
            return counter.increment(1);
        }
        drop(counters);
        let counter = match self.constant_label {
            Some((constant, constant_value)) => counter!(self.name, constant => constant_value, self.label => value),
            None => counter!(self.name, self.label => value),
        };
        counter.increment(1);
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it meanwhile.
        if counters.iter().all(|(known, _)| *known != value) {
            counters.push((value, counter));
        }
    }
}
