//! Metrics in the text format of Prometheus.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::log;

/// Interval of the recorder's upkeep, for servers that are not scraped.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets from half a millisecond, faster than any commit to a disk, to the longest timeout of a request.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// Buckets for batch sizes: rows per commit, frames per write.
const BATCH: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];
/// Buckets from a short frame to the longest write queue.
const BYTES: [f64; 7] = [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

/// Renders the current state of all metrics.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All metrics in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        // The queue counts dropped lines, because logging must not depend on the recorder.
        metrics::counter!("chatsphere_log_lines_dropped_total").absolute(log::lines_dropped());
        self.0.render() + &super::process::render()
    }
}

impl fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsHandle").finish_non_exhaustive()
    }
}

/// Installs the process-wide recorder and starts its upkeep. Further calls return the same handle. Call it before any metric
/// handle is created: earlier handles have no effect.
///
/// Histograms whose names end in `_seconds`, `_bytes`, or `_size` have buckets; others are summaries.
pub fn install_metrics() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> MetricsHandle {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    if let Err(error) = metrics::set_global_recorder(recorder) {
        tracing::error!(%error, "another recorder is installed already: metrics will stay empty");
    }
    super::catalogue::describe();
    metrics::gauge!("chatsphere_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let upkeep = handle.clone();
    // A thread rather than a task, because the recorder outlives every runtime.
    let spawned = std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            upkeep.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "metrics are put in order only when they are asked for");
    }
    MetricsHandle(handle)
}

fn builder() -> PrometheusBuilder {
    let buckets: [(&str, &[f64]); 3] = [("_seconds", &SECONDS), ("_size", &BATCH), ("_bytes", &BYTES)];
    buckets.into_iter().fold(PrometheusBuilder::new(), |builder, (suffix, values)| {
        // Only an empty list of buckets is rejected.
        builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), values).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_again_gives_the_same_metrics() {
        let first = install_metrics();
        metrics::histogram!("chatsphere_test_seconds").record(0.003);
        metrics::histogram!("chatsphere_test_batch_size").record(7.0);
        metrics::counter!("chatsphere_test_total").increment(2);
        let again = install_metrics().render();
        assert!(again.contains("chatsphere_test_seconds_bucket{le=\"0.005\"} 1"), "{again}");
        assert!(again.contains("chatsphere_test_batch_size_bucket{le=\"10\"} 1"), "{again}");
        assert!(again.contains("chatsphere_test_total 2"), "{again}");
        assert!(first.render().contains("chatsphere_test_total 2"));
    }
}
