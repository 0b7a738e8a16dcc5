//! Rate limits: a token bucket per key, in the form of the generic cell rate algorithm, which stores one number per bucket.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, counter};

use crate::ids::UserId;
use crate::time::Monotonic;

/// Full buckets are removed when the map has grown by this many.
const SWEEP_AFTER: usize = 4_096;

/// A rate limit per user.
pub type RateLimiter = Rate<UserId>;

/// A rate limit per key: `per_second` sustained, and `burst` at once after a pause.
pub struct Rate<K> {
    interval_micros: i64,
    burst: i64,
    refused: Counter,
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    /// The time at which each bucket will be full, in microseconds of the monotonic clock.
    full_at: HashMap<K, i64>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Rate<K> {
    /// Makes a limit of `per_second`; 0 is no limit.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval_micros = if per_second == 0 { 0 } else { 1_000_000 / i64::from(per_second) };
        let buckets = Mutex::new(Buckets { full_at: HashMap::new(), sweep_at: SWEEP_AFTER });
        Self { interval_micros, burst: i64::from(burst.max(1)), refused: Counter::noop(), buckets }
    }

    /// Makes a limit of one per `interval`, and `burst` at once after a pause.
    pub fn every(interval: Duration, burst: u32) -> Self {
        let interval_micros = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX);
        Self { interval_micros, ..Self::new(1, burst) }
    }

    /// Counts rejections in the metric `chatsphere_rate_limited_total` with the label `what`.
    #[must_use]
    pub fn counted(self, what: &'static str) -> Self {
        Self { refused: counter!("chatsphere_rate_limited_total", "what" => what), ..self }
    }

    /// Takes one token from the bucket of `who`, or returns how long to wait for it.
    pub fn take(&self, who: K, now: Monotonic) -> Result<(), Duration> {
        if self.interval_micros == 0 {
            return Ok(());
        }
        let now = i64::try_from(now.since_start().as_micros()).unwrap_or(i64::MAX / 2);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= buckets.sweep_at {
            buckets.full_at.retain(|_, full_at| *full_at > now);
            buckets.sweep_at = buckets.full_at.len() + SWEEP_AFTER;
        }
        let full_at = buckets.full_at.entry(who).or_insert(now);
        let whole = self.burst * self.interval_micros;
        *full_at = (*full_at).max(now);
        let after = *full_at + self.interval_micros;
        let too_early = after - now - whole;
        if too_early > 0 {
            self.refused.increment(1);
            return Err(Duration::from_micros(u64::try_from(too_early).unwrap_or(0)));
        }
        *full_at = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let rate = RateLimiter::new(20, 100);
        let (user, other) = (UserId::new(Timestamp::from_millis(1)), UserId::new(Timestamp::from_millis(1)));
        for _ in 0..100 {
            assert_eq!(rate.take(user, at(1_000_000)), Ok(()));
        }
        assert_eq!(rate.take(user, at(1_000_000)), Err(Duration::from_millis(50)));
        assert_eq!(rate.take(other, at(1_000_000)), Ok(()));
        assert_eq!(rate.take(user, at(1_000_050)), Ok(()));
        assert!(rate.take(user, at(1_000_050)).is_err());
    }

    #[test]
    fn full_buckets_are_removed() {
        let rate = RateLimiter::new(20, 100);
        for i in 0..20_000 {
            let user = UserId::new(Timestamp::from_millis(i * 1_000));
            assert_eq!(rate.take(user, at(u64::try_from(i).unwrap() * 1_000)), Ok(()));
        }
        assert!(rate.buckets.lock().unwrap().full_at.len() <= SWEEP_AFTER + 1);
    }
}
