//! A map of bounded weight.

use std::borrow::Borrow;
use std::hash::Hash;

use hashlink::LinkedHashMap;

/// A map whose entries have weights, in bytes or in another unit of the owner's. While their sum exceeds the bound, the least
/// recently used entries are removed.
///
/// The hash is fast and seeded, but not safe for keys that clients choose. Use it for ids of existing rows and for verified
/// texts.
pub struct BoundedMap<K, V> {
    /// Least recently used first.
    entries: LinkedHashMap<K, Weighed<V>, foldhash::fast::RandomState>,
    weight: usize,
    max_weight: usize,
}

struct Weighed<V> {
    value: V,
    weight: usize,
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    /// An empty map.
    pub fn new(max_weight: usize) -> Self {
        Self { entries: LinkedHashMap::default(), weight: 0, max_weight }
    }

    /// Returns the value of a key and marks it as used.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.entries.to_back(key).map(|entry| &mut entry.value)
    }

    /// Returns the value of a key without marking it as used.
    pub fn peek<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets the value of a key. Returns the entries that were removed to make room, including this one if it is heavier than
    /// the bound. The value that it replaces is not among them.
    pub fn insert(&mut self, key: K, value: V, weight: usize) -> Vec<(K, V)> {
        if weight > self.max_weight {
            self.remove(&key);
            return vec![(key, value)];
        }
        self.weight += weight;
        if let Some(replaced) = self.entries.insert(key, Weighed { value, weight }) {
            self.weight -= replaced.weight;
        }
        let mut removed = Vec::new();
        while self.weight > self.max_weight
            && let Some((key, entry)) = self.entries.pop_front()
        {
            self.weight -= entry.weight;
            removed.push((key, entry.value));
        }
        removed
    }

    /// Removes a key.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.remove(key)?;
        self.weight -= entry.weight;
        Some(entry.value)
    }

    /// Removes the entries for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let weight = &mut self.weight;
        self.entries.retain(|key, entry| {
            let kept = keep(key, &entry.value);
            if !kept {
                *weight -= entry.weight;
            }
            kept
        });
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K, V> std::fmt::Debug for BoundedMap<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BoundedMap(weight {} of {})", self.weight, self.max_weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_entry_is_evicted() {
        let mut map = BoundedMap::new(3);
        for key in [1, 2, 3] {
            assert!(map.insert(key, "old", 1).is_empty());
        }
        assert_eq!((map.get(&1).copied(), map.peek(&2).copied()), (Some("old"), Some("old")));
        assert_eq!(map.insert(4, "new", 1), [(2, "old")]);
        assert_eq!(map.insert(1, "heavy", 2), [(3, "old")]);
        assert_eq!(map.insert(5, "too heavy", 4), [(5, "too heavy")]);
        assert_eq!((map.len(), map.remove(&1), map.remove(&1)), (2, Some("heavy"), None));
    }

    proptest! {
        /// After any sequence of calls, the weight is the sum of the entries' weights and within the bound.
        #[test]
        fn the_weight_is_within_the_bound(steps in proptest::collection::vec((0..8_u8, 0..12_usize, 0..5_u8), 1..200)) {
            let mut map = BoundedMap::new(10);
            for (key, weight, what) in steps {
                match what {
                    0 => drop(map.remove(&key)),
                    1 => drop(map.get(&key)),
                    2 => map.retain(|other, _| *other != key),
                    _ => drop(map.insert(key, weight, weight)),
                }
                prop_assert!(map.weight <= 10);
                prop_assert_eq!(map.weight, map.entries.values().map(|entry| entry.value).sum::<usize>());
            }
        }
    }
}
