use chatsphere_core::{User as Row, ops};
use chatsphere_protocol::rest::User;
use clap::Args;

use crate::admin::Operator;
use crate::cli::access::{self, every_page};
use crate::cli::error::CliError;
use crate::cli::output::{json, table};
use crate::config::DatabaseFlags;

/// List all users.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl List {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings).await?;
        let rows = read(&operator).await;
        operator.close().await;
        let rows = rows?;
        if self.json {
            let rows: Vec<User<'static>> = rows.into_iter().map(crate::wire::user).collect();
            return Ok(json(&rows)?);
        }
        let rows: Vec<Vec<String>> = rows.iter().map(columns).collect();
        table(&["ID", "NAME", "ROLE", "STATE", "MADE"], &rows);
        Ok(())
    }
}

async fn read(operator: &Operator) -> Result<Vec<Row>, CliError> {
    let Some(caller) = operator.caller().await? else { return Ok(Vec::new()) };
    let (chat, caller) = (&operator.chat, &caller);
    Ok(every_page(|page| ops::list_users(chat, caller, page)).await?)
}

pub(super) fn columns(user: &Row) -> Vec<String> {
    let state = if user.disabled { "disabled" } else { "good" };
    vec![
        user.id.to_string(),
        user.username.to_string(),
        user.role.as_str().to_owned(),
        state.to_owned(),
        user.created_at.to_string(),
    ]
}
