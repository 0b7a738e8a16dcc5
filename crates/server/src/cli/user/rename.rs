use chatsphere_core::ops::{self, ChangeUser};
use clap::Args;

use crate::admin::Operator;
use crate::cli::access::{self, user_named};
use crate::cli::error::CliError;
use crate::cli::output::answer;
use crate::config::DatabaseFlags;

/// Rename a user. Servers on the database follow within a second.
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The user's name, or id
    name: String,
    /// Its new name, which must be free
    new_name: String,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Rename {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings.clone()).await?;
        let renamed = self.rename(&operator).await;
        operator.close().await;
        let (user, before) = renamed?;
        answer(format_args!("{before} is {user} now"));
        Ok(())
    }

    async fn rename(&self, operator: &Operator) -> Result<(String, String), CliError> {
        let caller = operator.caller().await?.ok_or(CliError::NoUsers)?;
        let user = user_named(operator, &self.name).await?;
        let change = ChangeUser { user_id: user.id, role: None, disabled: None };
        let renamed = ops::rename_and_change_user(&operator.chat, &caller, change, Some(self.new_name.clone())).await?;
        Ok((renamed.username.to_string(), user.username.to_string()))
    }
}
