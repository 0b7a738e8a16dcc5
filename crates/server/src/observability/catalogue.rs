//! All metrics of the server. Their help texts are registered from here, and `docs/operations.md` is compared with it.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric is, in the words of docs/operations.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts what fell into each of some ranges.
    Histogram,
    /// Quantiles of the last minutes.
    Summary,
}

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// By what it is told apart. Each label has few values.
    pub labels: &'static [&'static str],
    /// What it tells, as `# HELP` has it.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// All of them, in the order of docs/operations.md. Those of the process (`process_…`) are Prometheus' own, and not among them.
pub const METRICS: &[Metric] = &[
    gauge("chatsphere_build_info", &["version"], "Always 1; the label tells which version runs"),
    counter("chatsphere_http_requests_total", &["method", "route", "status"], "HTTP calls that were answered"),
    histogram(
        "chatsphere_http_request_seconds",
        &["route"],
        "How long HTTP calls took, from the head's arrival to the answer's head",
    ),
    counter(
        "chatsphere_errors_total",
        &["door", "code"],
        "Errors that clients were told, by their stable code; the door is http, websocket, or listener for what never became \
         a call",
    ),
    counter(
        "chatsphere_authentications_refused_total",
        &["door", "reason"],
        "Tokens that were refused, by the error's code, missing ones included",
    ),
    counter(
        "chatsphere_rate_limited_total",
        &["what"],
        "Calls and frames that a user's rate limit refused: message, read, signal, or change for everything else",
    ),
    gauge("chatsphere_connections", &["kind"], "Connections that are open now"),
    counter(
        "chatsphere_connections_refused_total",
        &["reason"],
        "Connections that were turned away: full, or out of descriptors",
    ),
    counter(
        "chatsphere_connections_timed_out_total",
        &["waiting_for"],
        "HTTP connections that were given up while waiting for head, idle or write",
    ),
    counter("chatsphere_tls_handshakes_failed_total", &["reason"], "TLS handshakes that failed, by error or timeout"),
    gauge("chatsphere_sockets", &[], "Authenticated WebSockets"),
    counter(
        "chatsphere_closes_total",
        &["code"],
        "WebSockets that ended, by close code; none is a connection that broke, other a code of the client's own",
    ),
    histogram("chatsphere_ack_seconds", &[], "From the arrival of a message over a WebSocket to its ack"),
    gauge("chatsphere_rooms_with_listeners", &[], "Rooms that somebody on this node listens to"),
    gauge("chatsphere_outbound_queue_bytes", &[], "Bytes that wait for all WebSockets together"),
    counter("chatsphere_slow_consumers_closed_total", &[], "WebSockets that were closed with 4008"),
    counter("chatsphere_events_in_total", &[], "Events that this node committed"),
    counter("chatsphere_events_out_total", &[], "Events sent to listeners, counted for each"),
    counter("chatsphere_signals_in_total", &[], "Signals, such as typing, for connections of this node"),
    counter("chatsphere_signals_out_total", &[], "Signals sent to connections, counted for each"),
    counter(
        "chatsphere_signals_dropped_total",
        &["reason"],
        "Signals that were dropped: for a connection that reads too slowly (slow_consumer), or since too many waited \
         (queue_full) or events before them did not come (behind)",
    ),
    gauge("chatsphere_answer_bytes", &[], "Bytes of answers and replays that are built and not yet sent"),
    gauge("chatsphere_write_queue", &[], "Writes that wait for the database"),
    histogram("chatsphere_commit_seconds", &[], "From taking a batch of writes to its commit"),
    Metric { name: "chatsphere_commit_batch_messages", kind: Kind::Summary, labels: &[], help: "Events in each commit" },
    counter("chatsphere_store_errors_total", &[], "Errors of the database"),
    counter(
        "chatsphere_log_lines_dropped_total",
        &[],
        "Log lines that could not be written: nobody reads, or the disk is full",
    ),
    gauge("chatsphere_disk_free_bytes", &[], "Free space of the disk under a SQLite database"),
    counter("chatsphere_disk_refused_total", &[], "Writes that were refused because the disk is full, or nearly"),
    gauge("chatsphere_database_bytes", &[], "Size of the database, with SQLite without its -wal file; looked at once a minute"),
    gauge("chatsphere_bus_connected", &[], "1 while NATS carries, 0 while it does not; absent without NATS_URL"),
    counter("chatsphere_bus_sent_total", &[], "Messages told to other nodes"),
    counter("chatsphere_bus_received_total", &[], "Messages heard of other nodes"),
    counter(
        "chatsphere_bus_dropped_total",
        &["reason"],
        "What did not go over the bus: commits (away, queue_full), events (too_large), signals (signals), messages (slow, \
         unreadable, epoch, unverified, replayed, clock)",
    ),
];

/// Registers every help text.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram | Kind::Summary => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of `promtool check metrics`, and those of CONTRIBUTING.md.
    #[test]
    fn names_are_as_prometheus_wants_them() {
        let mut seen = std::collections::HashSet::new();
        for Metric { name, kind, labels, help } in METRICS {
            assert!(seen.insert(name), "{name}");
            assert!(name.starts_with("chatsphere_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
            assert!(
                !ends(&["_count", "_sum", "_bucket", "_milliseconds", "_ms", "_kilobytes", "_minutes", "_percent"]),
                "{name}"
            );
            assert!(!["counter", "gauge", "histogram", "summary"].iter().any(|kind| name.contains(kind)), "{name}");
            if *kind == Kind::Histogram {
                assert!(ends(&["_seconds", "_bytes", "_size"]), "{name} would get no buckets");
            }
            assert!(help.len() > 5 && !help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
            assert!(labels.iter().all(|label| label.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{name}");
            assert!(!labels.iter().any(|label| ["le", "quantile", "id", "user", "room", "path"].contains(label)), "{name}");
        }
    }
}
