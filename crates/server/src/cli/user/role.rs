use chatsphere_core::Role;
use clap::Args;

use super::{change, parse_role};
use crate::cli::error::CliError;
use crate::cli::output::answer;
use crate::config::DatabaseFlags;

/// Change a user's role. Servers on the database follow within a second.
#[derive(Debug, Args)]
pub(crate) struct ChangeRole {
    /// The user's name, or id
    name: String,
    /// ADMIN, MODERATOR or MEMBER
    #[arg(value_parser = parse_role)]
    role: Role,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl ChangeRole {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let user = change(self.settings, &self.name, Some(self.role), None).await?;
        answer(format_args!("{} is {} now", user.username, user.role.as_str()));
        Ok(())
    }
}
