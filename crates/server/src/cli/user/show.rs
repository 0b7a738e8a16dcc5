use clap::Args;

use super::list::columns;
use crate::cli::access::{self, user_named};
use crate::cli::error::CliError;
use crate::cli::output::{json, table};
use crate::config::DatabaseFlags;

/// Show one user.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The user's name, or id
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Show {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings).await?;
        let found = user_named(&operator, &self.name).await;
        operator.close().await;
        let user = found?;
        if self.json {
            return Ok(json(&crate::wire::user(user))?);
        }
        table(&["ID", "NAME", "ROLE", "STATE", "MADE"], &[columns(&user)]);
        Ok(())
    }
}
