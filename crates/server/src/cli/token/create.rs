use std::time::Duration;

use chatsphere_core::duration::parse_duration;
use chatsphere_core::ops::{self, MintClientToken, MintUserToken};
use chatsphere_core::{Caller, Permissions, RoomId, TokenWithUser, UserId};
use chatsphere_protocol::rest::Minted;
use clap::{ArgGroup, Args};

use crate::admin::Operator;
use crate::cli::access::{self, user_named};
use crate::cli::error::CliError;
use crate::cli::output::{answer, json, note};
use crate::config::DatabaseFlags;

/// Create a token.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("rights").multiple(true).args(["read", "write", "delete"]))]
#[command(group = ArgGroup::new("holder").required(true).multiple(true).args(["client", "user"]))]
#[command(after_help = "The token is the answer, on standard output, once: nothing keeps it.")]
pub(crate) struct Create {
    /// A CLIENT token, for an application's own backend: it may do everything, on behalf of any user
    #[arg(long, requires = "email", conflicts_with_all = ["rights", "room"])]
    client: bool,
    /// The e-mail address that identifies a CLIENT token; no mail is sent
    #[arg(long, value_name = "ADDRESS", requires = "client")]
    email: Option<String>,
    /// The user of the token; a CLIENT token acts as this user unless it names another [default for --client: admin]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Allow reading [without --read, --write, --delete and --room: all rights of the user]
    #[arg(long)]
    read: bool,
    /// Allow posting, creating, adding
    #[arg(long)]
    write: bool,
    /// Allow removing members and revoking tokens
    #[arg(long)]
    delete: bool,
    /// Allow only this room; repeatable
    #[arg(long, value_name = "ID", requires = "rights")]
    room: Vec<RoomId>,
    /// The token's lifetime, such as 12h or 7d [default: jwt_expires_in or client_expires_in]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<Duration>,
    /// Print the token with its id and expiry, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Create {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings.clone()).await?;
        let minted = self.mint(&operator).await;
        operator.close().await;
        let minted = minted?;
        if self.json {
            return Ok(json(&minted)?);
        }
        answer(&minted.token);
        note(format_args!("token {} of {}, good until {}", minted.id, minted.user.username, minted.expires_at));
        Ok(())
    }

    async fn mint(&self, operator: &Operator) -> Result<Minted, CliError> {
        let (caller, first) = operator.caller_or_first().await?;
        if let Some(first) = first {
            note(format_args!("made the first user, {}, and its CLIENT token in {}", ops::FIRST_ADMIN, first.file.display()));
        }
        let user = match &self.user {
            Some(name) => user_named(operator, name).await?.id,
            None => caller.user.id,
        };
        let row = match &self.email {
            Some(email) if self.client => self.mint_client(operator, &caller, user, email).await?,
            _ => self.mint_user(operator, &caller, user).await?,
        };
        Ok(Minted {
            token: operator.keys.sign(&row.token, &row.user)?,
            id: row.token.id,
            user: crate::wire::profile(&row.user),
            expires_at: row.token.expires_at,
        })
    }

    async fn mint_client(
        &self,
        operator: &Operator,
        caller: &Caller,
        user_id: UserId,
        email: &str,
    ) -> Result<TokenWithUser, CliError> {
        let mint = MintClientToken { user_id, email: email.to_owned(), expires_in: self.expires_in, idempotency: None };
        Ok(ops::mint_client_token(&operator.chat, caller, mint).await?.value)
    }

    async fn mint_user(&self, operator: &Operator, caller: &Caller, user_id: UserId) -> Result<TokenWithUser, CliError> {
        let restricted = self.read || self.write || self.delete;
        let rooms = (!self.room.is_empty()).then(|| self.room.clone());
        let permissions = Permissions { read: self.read, write: self.write, delete: self.delete, rooms };
        let permissions = restricted.then_some(permissions);
        let mint = MintUserToken { user_id, permissions, expires_in: self.expires_in, idempotency: None };
        Ok(ops::mint_user_token(&operator.chat, caller, mint).await?.value)
    }
}
