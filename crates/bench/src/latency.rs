//! Distributions of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::RunError;

/// Longer durations are clamped to this.
const LONGEST_MICROS: u64 = 600_000_000;

/// A histogram of durations with a precision of one thousandth.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// The percentiles in a report, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The maximum.
    pub max: f64,
}

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    /// [`RunError::Latencies`].
    pub fn new() -> Result<Self, RunError> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?))
    }

    /// Records one duration.
    pub fn record(&mut self, duration: Duration) {
        self.0.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_MICROS));
    }

    /// Adds the durations of another histogram.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The percentiles for a report.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles { p50: self.at(0.5), p99: self.at(0.99), p999: self.at(0.999), max: millis(self.0.max()) }
    }

    /// The quantile at this share, in milliseconds.
    pub fn at(&self, share: f64) -> f64 {
        millis(self.0.value_at_quantile(share))
    }

    /// The number of durations.
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
