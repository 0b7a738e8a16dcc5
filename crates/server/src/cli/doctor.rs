use clap::Args;

use super::error::CliError;
use super::output::{answer, json};
use crate::config::ServerFlags;
use crate::doctor::{Finding, examine};

/// Check this node: report problems, and how to fix them.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ServerFlags,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let findings = examine(self.settings.load()).await;
        if self.json {
            json(&findings)?;
        } else {
            findings.iter().for_each(show);
        }
        match findings.iter().filter(|finding| !finding.ok).count() {
            0 => Ok(()),
            wrong => Err(CliError::NotInOrder(format!("{wrong} of {} checks found something wrong", findings.len()))),
        }
    }
}

fn show(finding: &Finding) {
    let state = if finding.ok { "ok   " } else { "WRONG" };
    answer(format_args!("{state}  {:<14}  {}", finding.check, finding.found));
    for line in finding.to_do.iter().flat_map(|to_do| to_do.lines()) {
        answer(format_args!("{:<23}{line}", ""));
    }
}
