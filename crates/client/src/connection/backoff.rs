use std::time::Duration;

/// The delay before reconnecting: a random part of a bound that doubles, so that clients that were disconnected together do not
/// return together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// The next delay; `random` is between 0 and 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let bound = self.base.saturating_mul(2u32.saturating_pow(self.attempt)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Continues with the longest delay, because the server asked for patience.
    pub(crate) fn be_patient(&mut self) {
        self.attempt = self.attempt.max(6);
    }

    /// Resets the delay after a lasting connection.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));
        let bounds: Vec<u128> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        for _ in 0..100 {
            backoff.next(1.0);
        }
        assert_eq!(backoff.next(0.5), Duration::from_millis(7_500));
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(250));
        backoff.be_patient();
        assert_eq!(backoff.next(1.0), Duration::from_secs(15));
    }
}
