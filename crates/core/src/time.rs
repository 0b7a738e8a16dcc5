//! Wall-clock time, and monotonic time for durations. Both come from an injected [`Clock`], so that tests control them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub use chatsphere_types::Timestamp;

/// A reading of the monotonic clock, which nobody sets and which never goes back. It measures durations within this process. It
/// is not a time of day, and other processes can't use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(Duration);

impl Monotonic {
    /// Makes the reading of this duration after the clock's start.
    pub const fn from_start(since: Duration) -> Self {
        Self(since)
    }

    /// Returns the duration since the clock's start.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Returns this reading plus `duration`.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// Returns the duration from `self` to `later`; zero if `later` is earlier.
    pub const fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// The source of time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the wall-clock time, for data that is stored, shown or sent to other machines. It jumps when the machine's clock
    /// is set, so measure durations by [`Clock::monotonic`].
    fn now(&self) -> Timestamp;

    /// Returns the monotonic time. It includes the time in which the machine was suspended, where the system measures that
    /// (Linux).
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
        // Unlike CLOCK_MONOTONIC, CLOCK_BOOTTIME includes suspended time (clock_gettime(2)).
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
    /// Makes clocks that move only by the methods below. The wall clock starts at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { wall: AtomicI64::new(start.as_millis()), monotonic_nanos: AtomicU64::new(0) }
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.monotonic_nanos.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets only the wall clock, as an operator or NTP would.
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
    fn setting_the_wall_clock_changes_no_duration() {
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
