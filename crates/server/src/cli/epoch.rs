use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::answer;
use crate::config::DatabaseFlags;
use crate::data_dir::DataDir;
use crate::lock::InstallationLock;
use crate::log;
use crate::start_error::StartError;

/// Name the life of the data that clients' cursors belong to.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// After a restore from a backup, with the server stopped: clients then read their rooms anew
    Renew(Renew),
}

#[derive(Debug, Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let Self::Renew(renew) = self;
        renew.run().await
    }
}

impl Renew {
    /// Takes the server's locks, since a running server would go on telling the old epoch. Servers elsewhere on the
    /// same PostgreSQL database it can't see.
    async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.load()?.settings;
        log::start(&settings);
        let directory = DataDir::make(&settings.data_dir).map_err(StartError::from)?;
        let url = settings.database();
        let _lock = InstallationLock::take(&directory, &url).await.map_err(StartError::from)?;
        let renewed = chatsphere_store::renew_epoch(&url).await;
        match renewed.map_err(|error| StartError::Database { error, hint: String::new() })? {
            Some(epoch) => answer(format_args!("{url}: the epoch is now {}; restart every server on it", epoch.as_str())),
            None => answer(format_args!("{url}: nothing is stored here yet, so there is no epoch to renew")),
        }
        Ok(())
    }
}
