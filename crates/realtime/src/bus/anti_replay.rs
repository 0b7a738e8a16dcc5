//! Protection against replayed messages: which messages of other nodes were received before.

use std::collections::HashMap;

use chatsphere_core::{BoundedMap, Timestamp};

use crate::interest::SubjectShard;

/// Maximum number of known nodes; the one whose last message is oldest is evicted. A restarted node counts as a new one.
const MAX_NODES: usize = 256;
/// How many messages a message may be behind the newest one of its node on its subject.
const WINDOW_LEN: u64 = 64;
/// Maximum difference, in milliseconds, between the time of an unknown node's message and this node's clock.
const MAX_CLOCK_SKEW: i64 = 30_000;

/// The name of a node for one run; it changes at each restart.
pub(super) type NodeName = [u8; 16];

/// The replay windows of each node on each subject. Only authenticated messages may be recorded.
///
/// A message of a known node is judged by its counter alone, so that a clock change does not cut the bus. The first message of
/// an unknown node must be fresh: a captured message is useless once its sender or this node has restarted. A message captured
/// while this node was not subscribed to the subject can be replayed to it once. That is harmless for an event, because the hub
/// knows its `seq`; a signal must be fresh besides.
pub(super) struct AntiReplay(BoundedMap<NodeName, HashMap<SubjectShard, ReplayWindow>>);

/// Which messages of one node on one subject were received (the anti-replay window of RFC 4303, section 3.4.3).
#[derive(Clone, Copy)]
struct ReplayWindow {
    newest: u64,
    /// Bit n is set if the message `newest - n` was received.
    seen: u64,
}

/// Why a message is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// It was received before, or is too old for the window to tell.
    Replayed,
    /// Its sender is unknown, and its time differs from this node's by this many milliseconds; positive if it lies ahead.
    Clock(i64),
}

impl Default for AntiReplay {
    fn default() -> Self {
        Self(BoundedMap::new(MAX_NODES))
    }
}

impl AntiReplay {
    /// Records a message; fails if it is a replay.
    pub(super) fn accept(
        &mut self,
        node: NodeName,
        shard: SubjectShard,
        counter: u64,
        sent_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Stale> {
        let known = self.0.peek(&node).map(|windows| windows.get(&shard).copied());
        if known.is_none() {
            check_fresh(sent_at, now)?;
        }
        let window = match known.flatten() {
            Some(window) => window.after(counter)?,
            // Earlier messages on this subject were either not addressed to this node, or received before the node was evicted.
            None => ReplayWindow { newest: counter, seen: u64::MAX },
        };
        if known.is_none() {
            self.0.insert(node, HashMap::new(), 1);
        }
        if let Some(windows) = self.0.get(&node) {
            windows.insert(shard, window);
        }
        Ok(())
    }
}

/// Fails if a message was not sent within `MAX_CLOCK_SKEW` of now.
pub(super) fn check_fresh(sent_at: Timestamp, now: Timestamp) -> Result<(), Stale> {
    let ahead = sent_at.as_millis().saturating_sub(now.as_millis());
    if (-MAX_CLOCK_SKEW..=MAX_CLOCK_SKEW).contains(&ahead) { Ok(()) } else { Err(Stale::Clock(ahead)) }
}

impl ReplayWindow {
    /// The window after a message; fails if the message is not new.
    fn after(self, counter: u64) -> Result<Self, Stale> {
        if counter > self.newest {
            let ahead = counter - self.newest;
            let seen = if ahead < WINDOW_LEN { self.seen << ahead | 1 } else { 1 };
            return Ok(Self { newest: counter, seen });
        }
        let behind = self.newest - counter;
        if behind >= WINDOW_LEN || self.seen & (1 << behind) != 0 {
            return Err(Stale::Replayed);
        }
        Ok(Self { seen: self.seen | 1 << behind, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

    fn shard() -> SubjectShard {
        SubjectShard::all().next().unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + millis)
    }

    #[test]
    fn what_is_late_by_little_is_taken_once() {
        let mut anti_replay = AntiReplay::default();
        let mut accept = |counter| anti_replay.accept([1; 16], shard(), counter, NOW, NOW);
        assert_eq!(accept(10), Ok(()));
        for counter in [9, 1] {
            assert_eq!(accept(counter), Err(Stale::Replayed), "{counter}: whether it was here before 10 is not known");
        }
        for counter in [13, 11, 12, 80, 17] {
            assert_eq!(accept(counter), Ok(()), "{counter}");
            assert_eq!(accept(counter), Err(Stale::Replayed), "{counter}");
        }
        assert_eq!(accept(16), Err(Stale::Replayed), "too far behind 80");
        assert_eq!(accept(u64::MAX), Ok(()));
        assert_eq!(accept(u64::MAX), Err(Stale::Replayed));
    }

    #[test]
    fn an_unknown_node_must_speak_now() {
        let mut anti_replay = AntiReplay::default();
        assert_eq!(
            anti_replay.accept([1; 16], shard(), 5, at(-MAX_CLOCK_SKEW - 1), NOW),
            Err(Stale::Clock(-MAX_CLOCK_SKEW - 1))
        );
        assert_eq!(anti_replay.accept([1; 16], shard(), 5, at(MAX_CLOCK_SKEW + 1), NOW), Err(Stale::Clock(MAX_CLOCK_SKEW + 1)));
        assert_eq!(anti_replay.accept([1; 16], shard(), 5, at(-MAX_CLOCK_SKEW), NOW), Ok(()));
        // The node's clock is set back by an hour; the node is known by now.
        assert_eq!(anti_replay.accept([1; 16], shard(), 6, at(-3_600_000), NOW), Ok(()));
        // The node restarts, and somebody replays its old messages.
        assert_eq!(anti_replay.accept([2; 16], shard(), 1, NOW, NOW), Ok(()));
        assert_eq!(anti_replay.accept([1; 16], shard(), 6, NOW, NOW), Err(Stale::Replayed));
    }

    #[test]
    fn who_is_silent_for_longest_is_forgotten() {
        let mut anti_replay = AntiReplay::default();
        let node = |n: usize| u128::try_from(n).unwrap().to_be_bytes();
        for n in 0..MAX_NODES {
            anti_replay.accept(node(n), shard(), 1, NOW, NOW).unwrap();
        }
        anti_replay.accept(node(0), shard(), 2, NOW, NOW).unwrap();
        for n in MAX_NODES..MAX_NODES + 10 {
            anti_replay.accept(node(n), shard(), 1, NOW, NOW).unwrap();
        }
        assert_eq!(anti_replay.0.len(), MAX_NODES);
        assert_eq!(anti_replay.accept(node(0), shard(), 2, NOW, NOW), Err(Stale::Replayed), "0 was heard after 1");
        assert!(anti_replay.0.peek(&node(1)).is_none());
        assert_eq!(
            anti_replay.accept(node(1), shard(), 1, at(-MAX_CLOCK_SKEW - 1), NOW),
            Err(Stale::Clock(-MAX_CLOCK_SKEW - 1))
        );
    }

    proptest! {
        #[test]
        fn no_counter_is_taken_twice(counters in proptest::collection::vec(0_u64..200, 1..400)) {
            let (mut anti_replay, mut taken) = (AntiReplay::default(), HashSet::new());
            for counter in counters {
                if anti_replay.accept([7; 16], shard(), counter, NOW, NOW).is_ok() {
                    prop_assert!(taken.insert(counter));
                }
            }
        }
    }
}
