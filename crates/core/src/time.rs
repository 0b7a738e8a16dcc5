//! Wall-clock time, and time for measuring spans, both taken from an injected [`Clock`] so that tests control them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub use chatsphere_types::Timestamp;

/// A reading of a clock that nobody sets and that never goes back, for spans within this process. It says nothing about the
/// time of day, and means nothing to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// A reading so long after the clock's beginning.
    pub const fn from_start(since: Duration) -> Self {
        Self(since)
    }

    /// How long after the clock's beginning.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// This reading plus `duration`.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long from `self` until `later`; zero if that is earlier.
    pub const fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment, for what is stored, shown or compared with another machine's. It jumps when the machine's clock is
    /// set: to measure a span, take [`Clock::monotonic`].
    fn now(&self) -> Timestamp;

    /// The present reading for spans. Time during which the machine was suspended counts where the system can tell (Linux).
    fn monotonic(&self) -> Monotonic;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> Monotonic {
        // Unlike CLOCK_MONOTONIC it goes on while the machine is suspended (clock_gettime(2)).
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = Duration::from_secs(u64::try_from(read.tv_sec).unwrap_or(0));
        Monotonic(seconds + Duration::from_nanos(u64::try_from(read.tv_nsec).unwrap_or(0)))
    }

    #[cfg(not(target_os = "linux"))]
    fn monotonic(&self) -> Monotonic {
        static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        Monotonic(START.elapsed())
    }
}

/// Clocks that a test sets.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic_nanos: AtomicU64,
}

impl ManualClock {
    /// Clocks that stand until they are moved; the wall clock stands at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { wall: AtomicI64::new(start.as_millis()), monotonic_nanos: AtomicU64::new(0) }
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic_nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or NTP would.
    pub fn set_wall(&self, to: Timestamp) {
        self.wall.store(to.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_nanos(self.monotonic_nanos.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_the_clock_moves_no_span() {
        let clock = ManualClock::new(Timestamp::from_millis(1_795_341_370_000));
        let began = clock.monotonic();
        clock.advance(Duration::from_secs(10));
        clock.set_wall(Timestamp::from_millis(0));
        assert_eq!(began.until(clock.monotonic()), Duration::from_secs(10));
        assert_eq!(clock.monotonic().until(began), Duration::ZERO);
        let (first, second) = (SystemClock.monotonic(), SystemClock.monotonic());
        assert!(first <= second);
    }
}
