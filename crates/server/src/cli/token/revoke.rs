use chatsphere_core::{TokenId, ops};
use clap::Args;

use crate::admin::Operator;
use crate::cli::access;
use crate::cli::error::CliError;
use crate::cli::output::answer;
use crate::config::DatabaseFlags;

/// Revoke a token, and all that it minted. Servers on the database follow within a second.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The token's id, as shown by `chatsphere token list`
    id: TokenId,
    #[command(flatten)]
    settings: DatabaseFlags,
}

impl Revoke {
    pub(crate) async fn run(self) -> Result<(), CliError> {
        let operator = access::open(self.settings).await?;
        let done = revoke(&operator, self.id).await;
        operator.close().await;
        done?;
        answer(format_args!("revoked {}", self.id));
        Ok(())
    }
}

async fn revoke(operator: &Operator, id: TokenId) -> Result<(), CliError> {
    let caller = operator.caller().await?.ok_or(CliError::NoUsers)?;
    Ok(ops::revoke_token(&operator.chat, &caller, id).await?)
}
