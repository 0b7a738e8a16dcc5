use clap::Args;

use super::change;
use crate::cli::error::CliError;
use crate::cli::output::answer;
use crate::config::DatabaseFlags;

/// Disable or enable a user. Servers on the database follow within a second.
#[derive(Debug, Args)]
pub(crate) struct SetDisabled {
    /// The user's name, or id
    name: String,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl SetDisabled {
    pub(crate) async fn run(self, disabled: bool) -> Result<(), CliError> {
        let user = change(self.settings, &self.name, None, Some(disabled)).await?;
        answer(format_args!("{} is {} now", user.username, if user.disabled { "disabled" } else { "enabled" }));
        Ok(())
    }
}
