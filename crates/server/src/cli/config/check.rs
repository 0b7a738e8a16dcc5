use clap::Args;
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::output::{json, note, table};
use crate::config::ServerFlags;

/// Show the settings in force, and the source of each value.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ServerFlags,
}

#[derive(Serialize)]
struct Row {
    setting: &'static str,
    value: String,
    from: String,
}

impl Check {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let loaded = self.settings.load()?;
        for warning in loaded.settings.warnings() {
            note(format_args!("warning: {warning}"));
        }
        let rows: Vec<Row> = loaded
            .origins()
            .map(|(setting, place)| Row {
                setting: setting.name,
                value: setting.show(&loaded.settings),
                from: place.to_string(),
            })
            .collect();
        if self.json {
            return Ok(json(&rows)?);
        }
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| vec![row.setting.to_owned(), row.value, row.from]).collect();
        table(&["SETTING", "VALUE", "FROM"], &rows);
        Ok(())
    }
}
