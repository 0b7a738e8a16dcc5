//! The catalogue of the server's metrics. Help texts are registered from here, and `docs/operations.md` is compared with it.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// The type of a metric, in the words of docs/operations.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
    /// Quantiles of the last minutes.
    Summary,
}

impl Kind {
    /// The name of the type.
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
    /// The type.
    pub kind: Kind,
    /// The labels. Each has few values.
    pub labels: &'static [&'static str],
    /// The description for `# HELP`.
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

/// All metrics, in the order of docs/operations.md. Those of the process (`process_…`) follow Prometheus' conventions and are
/// not listed.
pub const METRICS: &[Metric] = &[
    gauge("chatsphere_build_info", &["version"], "Always 1; the label is the running version"),
    counter("chatsphere_http_requests_total", &["method", "route", "status"], "Answered HTTP calls"),
    histogram(
        "chatsphere_http_request_seconds",
        &["route"],
        "Duration of HTTP calls, from the request's head to the answer's head",
    ),
    counter(
        "chatsphere_errors_total",
        &["door", "code"],
        "Errors sent to clients, by stable code; the door is http, websocket, or listener for requests that never \
         became a call",
    ),
    counter(
        "chatsphere_authentications_refused_total",
        &["door", "reason"],
        "Rejected tokens, by error code, including missing ones",
    ),
    counter(
        "chatsphere_rate_limited_total",
        &["what"],
        "Calls and frames rejected by a user's rate limit: message, read, signal, or change for everything else",
    ),
    gauge("chatsphere_connections", &["kind"], "Open connections"),
    counter("chatsphere_connections_refused_total", &["reason"], "Rejected connections: full, or out of descriptors"),
    counter(
        "chatsphere_connections_timed_out_total",
        &["waiting_for"],
        "HTTP connections that timed out waiting for head, idle or write",
    ),
    counter("chatsphere_tls_handshakes_failed_total", &["reason"], "Failed TLS handshakes: error or timeout"),
    gauge("chatsphere_sockets", &[], "Authenticated WebSockets"),
    counter(
        "chatsphere_closes_total",
        &["code"],
        "Ended WebSockets, by close code; none is a broken connection, other a code chosen by the client",
    ),
    histogram("chatsphere_ack_seconds", &[], "Time from the arrival of a WebSocket message to its ack"),
    gauge("chatsphere_rooms_with_listeners", &[], "Rooms with subscriptions on this node"),
    gauge("chatsphere_outbound_queue_bytes", &[], "Bytes in the write queues of all WebSockets"),
    counter("chatsphere_slow_consumers_closed_total", &[], "WebSockets closed with 4008"),
    counter("chatsphere_events_in_total", &[], "Events committed by this node"),
    counter("chatsphere_events_out_total", &[], "Events sent to subscriptions, counted per subscription"),
    counter("chatsphere_signals_in_total", &[], "Signals, such as typing, for connections of this node"),
    counter("chatsphere_signals_out_total", &[], "Signals sent to connections, counted per connection"),
    counter(
        "chatsphere_signals_dropped_total",
        &["reason"],
        "Dropped signals: the connection reads too slowly (slow_consumer), the queue is full (queue_full), or \
         earlier events are missing (behind)",
    ),
    gauge("chatsphere_answer_bytes", &[], "Bytes of answers and replays that are encoded but not sent"),
    gauge("chatsphere_write_queue", &[], "Writes queued for the database"),
    histogram("chatsphere_commit_seconds", &[], "Time from dequeuing a batch of writes to its commit"),
    Metric { name: "chatsphere_commit_batch_messages", kind: Kind::Summary, labels: &[], help: "Events per commit" },
    counter("chatsphere_store_errors_total", &[], "Errors of the database"),
    counter("chatsphere_log_lines_dropped_total", &[], "Log lines dropped because nobody reads, or the disk is full"),
    gauge("chatsphere_disk_free_bytes", &[], "Free disk space of a SQLite database"),
    counter("chatsphere_disk_refused_total", &[], "Writes rejected because the disk is full or nearly full"),
    gauge("chatsphere_database_bytes", &[], "Size of the database, on SQLite without its -wal file; measured once a minute"),
    gauge("chatsphere_bus_connected", &[], "1 while connected to NATS, otherwise 0; absent without NATS_URL"),
    counter("chatsphere_bus_sent_total", &[], "Messages published to other nodes"),
    counter("chatsphere_bus_received_total", &[], "Messages received from other nodes"),
    counter(
        "chatsphere_bus_dropped_total",
        &["reason"],
        "Dropped on the bus: commits (away, queue_full), events (too_large), signals (signals), messages (slow, \
         unreadable, epoch, unverified, replayed, clock)",
    ),
];

/// Registers the help texts.
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

    /// The rules of `promtool check metrics` and of CONTRIBUTING.md.
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
