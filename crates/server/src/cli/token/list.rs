use chatsphere_core::ops;
use chatsphere_core::{Permissions, Timestamp, TokenWithUser};
use chatsphere_protocol::rest::Token;
use clap::Args;

use crate::admin::Operator;
use crate::cli::access::{self, every_page};
use crate::cli::error::CliError;
use crate::cli::output::{json, table};
use crate::config::DatabaseFlags;

/// List tokens.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Include revoked and expired tokens
    #[arg(long)]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings.clone()).await?;
        let now = operator.chat.clock.now();
        let rows = read(&operator).await;
        operator.close().await;
        let mut rows = rows?;
        rows.retain(|row| self.all || state(row, now) == "good");
        if self.json {
            let rows: Vec<Token> = rows.into_iter().map(crate::wire::token).collect();
            return Ok(json(&rows)?);
        }
        let rows: Vec<Vec<String>> = rows.iter().map(|row| columns(row, now)).collect();
        table(&["ID", "TYPE", "USER", "EMAIL", "MAY", "MADE", "UNTIL", "STATE"], &rows);
        Ok(())
    }
}

async fn read(operator: &Operator) -> Result<Vec<TokenWithUser>, CliError> {
    let Some(caller) = operator.caller().await? else { return Ok(Vec::new()) };
    let (chat, caller) = (&operator.chat, &caller);
    Ok(every_page(|page| ops::list_tokens(chat, caller, page)).await?)
}

fn columns(row: &TokenWithUser, now: Timestamp) -> Vec<String> {
    vec![
        row.token.id.to_string(),
        row.token.token_type.as_str().to_owned(),
        row.user.username.to_string(),
        row.token.email.as_ref().map_or("-", |email| email.as_str()).to_owned(),
        may(&row.token.permissions),
        row.token.created_at.to_string(),
        row.token.expires_at.to_string(),
        state(row, now).to_owned(),
    ]
}

fn state(row: &TokenWithUser, now: Timestamp) -> &'static str {
    if row.token.revoked_at.is_some() {
        "revoked"
    } else if row.token.expires_at <= now {
        "expired"
    } else if row.user.disabled {
        "user disabled"
    } else {
        "good"
    }
}

fn may(permissions: &Permissions) -> String {
    if permissions.is_all() {
        return "all".to_owned();
    }
    let words = [(permissions.read, "read"), (permissions.write, "write"), (permissions.delete, "delete")];
    let words: Vec<&str> = words.into_iter().filter(|(allowed, _)| *allowed).map(|(_, word)| word).collect();
    let rooms = permissions.rooms.as_ref().map_or_else(String::new, |rooms| format!(" in {} rooms", rooms.len()));
    if words.is_empty() { "nothing".to_owned() } else { words.join(",") + &rooms }
}
