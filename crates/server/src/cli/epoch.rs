use clap::{Args, Subcommand};

use super::error::CliError;
use super::output::answer;
use crate::config::DatabaseFlags;
use crate::data_dir::DataDir;
use crate::installation;
use crate::lock::InstallationLock;
use crate::log;
use crate::start_error::StartError;

/// Manage the epoch of the data, to which clients' cursors belong.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Renew the epoch after a restore from a backup, with the server stopped: clients then reload their rooms
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
    /// Takes the server's locks, because a running server would keep sending the old epoch. Servers on other machines with the
    /// same PostgreSQL database are not detected.
    async fn run(self) -> Result<(), CliError> {
        let settings = self.settings.load()?.settings;
        log::start(&settings);
        installation::require(&settings)?;
        let directory = DataDir::at(&settings.data_dir);
        let url = settings.database();
        let _lock = InstallationLock::take(directory.as_ref(), &url).await.map_err(StartError::from)?;
        let failed = |error| StartError::database(error, None, &settings);
        // Renewing would create missing tables.
        if !chatsphere_store::inspect(&url, None).await.map_err(failed)?.knows_keys {
            return Err(CliError::NoDatabase(url.to_string()));
        }
        match chatsphere_store::renew_epoch(&url).await.map_err(failed)? {
            Some(epoch) => {
                log::audit("epoch.renew");
                answer(format_args!("{url}: the epoch is now {}; restart every server on it", epoch.as_str()));
            }
            None => return Err(CliError::NoDatabase(url.to_string())),
        }
        Ok(())
    }
}
