//! Distributions of durations.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::RunError;

/// Longer is counted as this long.
const LONGEST_MICROS: u64 = 600_000_000;

/// A distribution of durations, to a thousandth.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// What a report shows of it, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Of a hundred, 99 took no longer.
    pub p99: f64,
    /// Of a thousand, 999 took no longer.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl Latencies {
    /// Nothing is recorded yet.
    ///
    /// # Errors
    /// [`RunError::Latencies`].
    pub fn new() -> Result<Self, RunError> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?))
    }

    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_MICROS));
    }

    /// Adds all of another distribution.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a report shows.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles { p50: self.at(0.5), p99: self.at(0.99), p999: self.at(0.999), max: millis(self.0.max()) }
    }

    /// What a share of the durations does not exceed, in milliseconds.
    pub fn at(&self, share: f64) -> f64 {
        millis(self.0.value_at_quantile(share))
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len()
    }
}

fn millis(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut latencies = Latencies::new().unwrap();
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let mut all = Latencies::new().unwrap();
        all.add(&latencies);
        let Percentiles { p50, p99, p999, max } = all.percentiles();
        assert!((p50 - 500.0).abs() < 1.0 && (p99 - 990.0).abs() < 1.0, "{p50} {p99}");
        assert!((p999 - 999.0).abs() < 1.0 && (max - 1_000.0).abs() < 1.0, "{p999} {max}");
    }
}
