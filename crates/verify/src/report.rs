use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::error::VerifyError;

/// What a run did and found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(&'static str, Value)>,
    /// What the server did that it promises not to do.
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub(crate) fn figure(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.figures.push((name, value.into()));
        self
    }

    pub(crate) fn print(&self, json: bool) -> io::Result<()> {
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
        object.insert("command".to_owned(), "verify".into());
        object.extend(self.figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        object.insert("violations".to_owned(), self.violations.clone().into());
        Value::Object(object)
    }

    fn table(&self) -> String {
        let width = self.figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut table = "verify\n".to_owned();
        for (name, value) in &self.figures {
            let value =
                value.as_f64().filter(|_| value.is_f64()).map_or_else(|| value.to_string(), |value| format!("{value:.2}"));
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

/// Tells something while the run goes on, beside the report.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Tells why a run could not be made.
pub(crate) fn complain(error: &VerifyError) {
    let mut text = format!("error: {error}");
    let mut cause = std::error::Error::source(error).and_then(std::error::Error::source);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    // Without a place to write to there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_its_figures_and_violations() {
        let mut report = Report::default();
        report.figure("seed", 7).figure("seconds", 1.234);
        assert_eq!(report.table(), "verify\n  seed     7\n  seconds  1.23\n  no violations\n");
        report.violations.push("a gap".to_owned());
        assert!(report.table().ends_with("  VIOLATION  a gap\n"));
        assert_eq!(report.json()["violations"][0], "a gap");
    }
}
