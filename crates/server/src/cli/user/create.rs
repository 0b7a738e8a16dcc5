use chatsphere_core::Role;
use chatsphere_core::TokenWithUser;
use chatsphere_core::ops::{self, CreateUser};
use chatsphere_protocol::rest::CreatedUser;
use clap::Args;

use super::parse_role;
use crate::admin::Operator;
use crate::cli::access;
use crate::cli::error::CliError;
use crate::cli::output::{answer, json, note};
use crate::config::DatabaseFlags;

/// Create a user, and print its id.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name, which must be free
    name: String,
    /// ADMIN, MODERATOR or MEMBER [default: MEMBER]
    #[arg(long, value_parser = parse_role)]
    role: Option<Role>,
    /// Create a USER token too, and print it after the id
    #[arg(long)]
    token: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Create {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings.clone()).await?;
        let made = self.make(&operator).await;
        let signed = made.and_then(|made| Ok((operator.keys.sign(&made.token, &made.user)?, made)));
        operator.close().await;
        let (token, TokenWithUser { user, token: row }) = signed?;
        match (self.json, self.token) {
            (true, true) => {
                json(&CreatedUser { user: crate::wire::profile(&user), token, token_id: row.id, expires_at: row.expires_at })?;
            }
            (true, false) => json(&crate::wire::profile(&user))?,
            (false, true) => {
                answer(user.id);
                answer(token);
            }
            (false, false) => answer(user.id),
        }
        Ok(())
    }

    async fn make(&self, operator: &Operator) -> Result<TokenWithUser, CliError> {
        let (caller, first) = operator.caller_or_first().await?;
        if let Some(first) = first {
            note(format_args!("made the first user, {}, and its CLIENT token in {}", ops::FIRST_ADMIN, first.file.display()));
        }
        let create = CreateUser { username: self.name.clone(), role: self.role, idempotency: None };
        let made = ops::create_user(&operator.chat, &caller, create).await?.value;
        if !self.token {
            // Every new user has a token. One that is not printed must not stay valid.
            ops::revoke_token(&operator.chat, &caller, made.token.id).await?;
        }
        Ok(made)
    }
}
