use clap::Args;

use super::error::CliError;
use super::output::answer;
use crate::config::DatabaseFlags;
use crate::installation;
use crate::log;
use crate::start_error::StartError;

/// Migrate the database's tables and exit.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Migrate {
    /// `serve` migrates by itself; this command is for migrating earlier, or with other credentials.
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.load()?.settings;
        log::start(&settings);
        // Also creates the tables of an empty PostgreSQL database, for operators who do that with another role.
        installation::require(&settings)?;
        let url = settings.database();
        let report = chatsphere_store::migrate(&url).await.map_err(|error| StartError::database(error, None, &settings))?;
        for step in &report.applied {
            answer(format_args!("applied: {step}"));
        }
        let so_far = if report.applied.is_empty() { "up to date" } else { "brought up to date" };
        answer(format_args!("{url}: {so_far}, version {}", report.to));
        Ok(())
    }
}
