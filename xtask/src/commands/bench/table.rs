//! Renders reports as Markdown tables.

use std::fmt::Write;

use serde_json::Value;

/// One report, and its step.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) arguments: String,
    pub(super) report: Value,
}

impl Measured {
    /// The JSON for the result file.
    pub(super) fn json(&self) -> Value {
        serde_json::json!({ "name": self.name, "arguments": self.arguments, "report": self.report })
    }
}

/// A figure of a report and its label; `#` is replaced by the figure.
type Cell = (&'static str, &'static str);

/// The columns of a command's figures.
struct Columns {
    result: &'static [Cell],
    per_cpu_second: &'static [Cell],
    latency: &'static [&'static str],
}

fn columns(command: &str) -> Columns {
    let (result, per_cpu_second, latency): (&[Cell], &[Cell], &[&str]) = match command {
        "idle" => (&[("bytesPerSocket", "# bytes a socket"), ("cpuPercentOfACore", "# % of a core")], &[], &["openMs"]),
        "connect" => {
            (&[("connectionsPerSecond", "#/s")], &[("connectionsPerCpuSecond", "# connections")], &["connectAndJoinMs"])
        }
        "fanout" => (
            &[("deliveriesPerSecond", "# deliveries/s"), ("serverToFloor", "# of the floor")],
            &[("deliveriesPerCpuSecond", "# deliveries"), ("floorPerCpuSecond", "floor: #")],
            &["deliveryMs", "floorDeliveryMs"],
        ),
        "rest" => (
            &[("getsPerSecond", "get: #/s"), ("postsPerSecond", "post: #/s")],
            &[("getsPerCpuSecond", "get: #"), ("postsPerCpuSecond", "post: #")],
            &["getMs", "postMs"],
        ),
        "ingest" => (
            &[("acksPerSecond", "# acks/s"), ("openRate", "open loop at #/s")],
            &[("acksPerCpuSecond", "# messages")],
            &["ackMs", "openAckMs"],
        ),
        "storm" => (
            &[("seconds", "# s until all are up to date"), ("peakResidentBytes", "peak # bytes resident")],
            &[("eventsPerCpuSecond", "# events")],
            &["upToDateMs"],
        ),
        "fairness" => (
            &[("p99RatioLoudRoom", "p99 × # beside a loud room"), ("p99RatioFlood", "p99 × # beside a flood")],
            &[],
            &["aloneMs", "besideLoudRoomMs", "besideFloodMs"],
        ),
        "growth" => (&[("roomsInDatabase", "# rooms in the database")], &[], &[]),
        _ => (&[("acksPerSecond", "# acks/s")], &[("acksPerCpuSecond", "# acks")], &["ackMs"]),
    };
    Columns { result, per_cpu_second, latency }
}

/// All reports of one database, under a heading.
pub(super) fn markdown(heading: &str, all: &[Measured]) -> String {
    let mut text = format!("## {heading}\n\n| what | result | a CPU-second | latency in ms |\n| --- | --- | --- | --- |\n");
    for Measured { arguments, report, .. } in all {
        let command = report["command"].as_str().unwrap_or_default();
        let columns = columns(command);
        let mut result = cells(report, columns.result);
        result.extend(ratios(report));
        let violations = report["violations"].as_array().map_or(0, Vec::len);
        if violations > 0 {
            result.push(format!("**{violations} violations**"));
        }
        let mut latencies: Vec<String> = columns.latency.iter().filter_map(|name| latency(report, name)).collect();
        latencies.extend(medians(report));
        let per_cpu_second = cells(report, columns.per_cpu_second).join("; ");
        let _ = writeln!(text, "| `{arguments}` | {} | {per_cpu_second} | {} |", result.join("; "), latencies.join("; "));
    }
    text
}

fn cells(report: &Value, cells: &[Cell]) -> Vec<String> {
    cells.iter().filter_map(|(name, words)| Some(words.replace('#', &shown(report[*name].as_f64()?)))).collect()
}

/// The ratios in the report of `growth`.
fn ratios(report: &Value) -> Vec<String> {
    let Some(figures) = report.as_object().filter(|report| report["command"] == "growth") else { return Vec::new() };
    let own = figures.iter().filter_map(|(name, value)| {
        let (call, at) = name.split_once("RatioAt")?;
        Some(format!(
            "{call} × {} at {}",
            shown(value.as_f64()?),
            at.replace("Messages", " messages").replace("Rooms", " rooms")
        ))
    });
    let earlier = report["p50ToEarlier"].as_object().into_iter().flatten().filter_map(|(name, value)| {
        let call = name.split_once("MsAt1000Messages")?.0;
        Some(format!("{call} × {} of that beside {} rooms", shown(value.as_f64()?), report["earlierRoomsInDatabase"]))
    });
    own.chain(earlier).collect()
}

/// The medians in the report of `growth`, which has too many calls for all percentiles.
fn medians(report: &Value) -> Vec<String> {
    let figures = report.as_object().into_iter().flatten();
    let median = |(name, value): (&String, &Value)| {
        let (call, messages) = name.strip_suffix("Messages")?.split_once("MsAt")?;
        Some(format!("{call} at {messages} messages: p50 {}", shown(value["p50"].as_f64()?)))
    };
    figures.filter_map(median).collect()
}

fn latency(report: &Value, name: &str) -> Option<String> {
    let percentiles = report[name].as_object()?;
    let each: Option<Vec<String>> = ["p50", "p99", "p99.9", "max"]
        .iter()
        .map(|share| Some(format!("{share} {}", shown(percentiles[*share].as_f64()?))))
        .collect();
    let label = name.trim_end_matches("Ms");
    Some(format!("{label}: {}", each?.join(", ")))
}

/// Three significant digits, with grouped thousands.
fn shown(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            (shown(1_234_567.0), shown(100.4), shown(0.5), shown(3.0)),
            ("1,234,567".into(), "100".into(), "0.5".into(), "3".into())
        );
    }

    #[test]
    fn each_report_is_a_row() {
        let ms = json!({ "p50": 1.0, "p99": 2.0, "p99.9": 3.0, "max": 4.5 });
        let fanout = json!({ "command": "fanout", "deliveriesPerSecond": 65700, "serverToFloor": 0.81,
            "deliveriesPerCpuSecond": 100_700,
            "deliveryMs": ms, "violations": [] });
        let growth = json!({ "command": "growth", "roomsInDatabase": 10, "newestRatioAt100000Messages": 1.25,
            "newestMsAt1000Messages": ms, "violations": ["a"] });
        let all = [("fanout-1", fanout), ("growth", growth)].map(|(name, report)| Measured {
            name,
            arguments: format!("{name} --x"),
            report,
        });
        let text = markdown("SQLite", &all);
        assert!(
            text.contains(
                "| `fanout-1 --x` | 65,700 deliveries/s; 0.81 of the floor | 100,700 deliveries | delivery: p50 \
         1, p99 2, p99.9 3, max 4.5 |"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "| 10 rooms in the database; newest × 1.25 at 100000 messages; **1 violations** |  | newest at \
         1000 messages: p50 1 |"
            ),
            "{text}"
        );
        assert_eq!(all[0].json()["report"]["command"], "fanout");
    }
}
