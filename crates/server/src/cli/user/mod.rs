//! `chatsphere user`.

mod create;
mod list;
mod rename;
mod role;
mod set_disabled;
mod show;

use chatsphere_core::ops::{self, ChangeUser};
use chatsphere_core::{Role, User};
use clap::Subcommand;

use super::access::{self, user_named};
use super::error::CliError;
use crate::admin::Operator;
use crate::config::DatabaseFlags;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a user
    Create(create::Create),
    /// List all users
    List(list::List),
    /// Show one user
    Show(show::Show),
    /// Rename a user
    Rename(rename::Rename),
    /// Change a user's role
    Role(role::ChangeRole),
    /// Reject all of a user's tokens, and close its connections
    Disable(set_disabled::SetDisabled),
    /// Enable a disabled user
    Enable(set_disabled::SetDisabled),
}

impl Command {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Show(command) => command.run().await,
            Self::Rename(command) => command.run().await,
            Self::Role(command) => command.run().await,
            Self::Disable(command) => command.run(true).await,
            Self::Enable(command) => command.run(false).await,
        }
    }
}

/// Changes the user with this name.
async fn change(flags: DatabaseFlags, name: &str, role: Option<Role>, disabled: Option<bool>) -> Result<User, CliError> {
    let operator = access::open(flags).await?;
    let changed = change_on(&operator, name, role, disabled).await;
    operator.close().await;
    changed
}

async fn change_on(operator: &Operator, name: &str, role: Option<Role>, disabled: Option<bool>) -> Result<User, CliError> {
    let caller = operator.caller().await?.ok_or(CliError::NoUsers)?;
    let user_id = user_named(operator, name).await?.id;
    Ok(ops::change_user(&operator.chat, &caller, ChangeUser { user_id, role, disabled }).await?)
}

/// A role in any case of letters.
fn parse_role(text: &str) -> Result<Role, String> {
    Role::parse(&text.to_ascii_uppercase()).ok_or_else(|| "must be ADMIN, MODERATOR or MEMBER".to_owned())
}
