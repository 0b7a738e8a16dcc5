//! The report of a run, as a table or JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::error::RunError;
use crate::latency::Latencies;
use crate::plot::{Chart, Curve};

/// The report of a run.
#[derive(Debug)]
pub struct Report {
    command: &'static str,
    figures: Vec<(Cow<'static, str>, Value)>,
    /// Violations of the server's guarantees.
    pub violations: Vec<String>,
    /// The distributions of durations.
    latencies: Vec<Curve>,
    chart: Option<Chart>,
}

impl Report {
    /// An empty report.
    pub fn new(command: &'static str) -> Self {
        Self { command, figures: Vec::new(), violations: Vec::new(), latencies: Vec::new(), chart: None }
    }

    /// Adds a figure. A value that is not available is omitted.
    pub fn figure(&mut self, name: impl Into<Cow<'static, str>>, value: impl serde::Serialize) -> &mut Self {
        match serde_json::to_value(value) {
            Ok(Value::Null) | Err(_) => {}
            Ok(value) => self.figures.push((name.into(), value)),
        }
        self
    }

    /// The figures.
    pub fn figures(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.figures.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Adds percentiles, and a curve for the plot. An empty distribution is omitted.
    pub fn latencies(&mut self, name: impl Into<Cow<'static, str>>, latencies: &Latencies) -> &mut Self {
        let name = name.into();
        if latencies.is_empty() {
            return self;
        }
        self.latencies.push(Curve::of(&name, latencies));
        self.figure(name, latencies.percentiles())
    }

    /// Plots this chart instead of the latencies.
    pub fn chart(&mut self, chart: Chart) -> &mut Self {
        self.chart = Some(chart);
        self
    }

    /// The plot as SVG, if there is anything to plot.
    pub fn svg(&self) -> Option<String> {
        match &self.chart {
            Some(chart) => Some(chart.svg()),
            None if self.latencies.is_empty() => None,
            None => Some(Chart::of_latencies(self.command, self.latencies.clone()).svg()),
        }
    }

    /// Adds CPU seconds, and the number of `count` per CPU second.
    pub fn cpu(&mut self, seconds: Option<f64>, per_second: &'static str, count: u64) -> &mut Self {
        let Some(seconds) = seconds else { return self };
        self.figure("serverCpuSeconds", seconds);
        if seconds > 0.0 {
            self.figure(per_second, rate(count, seconds));
        }
        self
    }

    /// Writes the report to standard output.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer_pretty(&mut out, &self.json())?;
            writeln!(out)
        } else {
            out.write_all(self.table().as_bytes())
        }
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("command".to_owned(), self.command.into());
        object.extend(self.figures.iter().map(|(name, value)| (name.clone().into_owned(), value.clone())));
        object.insert("violations".to_owned(), self.violations.clone().into());
        Value::Object(object)
    }

    fn table(&self) -> String {
        let mut rows = Vec::new();
        for (name, value) in &self.figures {
            match value {
                Value::Object(parts) => {
                    let mut parts: Vec<_> = parts.iter().collect();
                    // After the percentiles.
                    parts.sort_by_key(|(part, _)| part.as_str() == "max");
                    rows.extend(parts.into_iter().map(|(part, value)| (format!("{name}.{part}"), shown(value))));
                }
                value => rows.push((name.clone().into_owned(), shown(value))),
            }
        }
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut table = format!("{}\n", self.command);
        for (name, value) in rows {
            table.push_str(&format!("  {name:width$}  {value}\n"));
        }
        if self.violations.is_empty() {
            table.push_str("  no violations\n");
        }
        for violation in &self.violations {
            table.push_str(&format!("  VIOLATION  {violation}\n"));
        }
        table
    }
}

/// The median.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// A rate per second.
pub fn rate(count: u64, seconds: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
    let count = count as f64;
    (count / seconds).round()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Prints a note on standard error during the run.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints why a run failed.
pub fn complain(error: &RunError) {
    let mut text = format!("error: {error}");
    let mut cause = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    // If standard error is closed, nobody can be informed.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_report_shows_its_figures_and_violations() {
        let mut report = Report::new("smoke");
        report.figure("seed", 7).figure("ackMs", serde_json::json!({"p50": 1.234})).figure("absent", None::<u8>);
        report.cpu(Some(2.0), "acksPerCpuSecond", 10);
        assert!(report.table().ends_with("no violations\n"));
        report.violations.push("a gap".to_owned());
        let table = report.table();
        assert!(table.contains("  ackMs.p50         1.23\n") && table.contains("acksPerCpuSecond  5"), "{table}");
        assert!(table.contains("VIOLATION  a gap"));
        assert_eq!(report.json()["violations"][0], "a gap");
    }
}
