use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::{Absent, Denial, Error};
use crate::ids::TokenId;
use crate::policy;
use crate::token::TokenType;

/// Revokes a token and all that it minted. Needs `delete` unless the token revokes itself, and a CLIENT token or the token's
/// owner; an ADMIN may revoke any USER token. Effective on this node, open sockets included, when this returns.
///
/// # Errors
/// [`Error::Denied`], [`Absent::Token`], [`Error::Outage`].
pub async fn revoke_token(chat: &Chat, caller: &Caller, token: TokenId) -> Result<(), Error> {
    if token != caller.token_id {
        policy::may_delete(caller)?;
    }
    match chat.store.token(token).await? {
        Some(row) => {
            let own = caller.is(row.token.user_id) && row.token.token_type == TokenType::User;
            let by_admin = caller.is_privileged() && row.token.token_type == TokenType::User;
            if !(own || by_admin || caller.token_type == TokenType::Client) {
                return Err(refusal(caller));
            }
        }
        None => return Err(refusal(caller)),
    }
    chat.store.revoke_token(token, chat.clock.now()).await?;
    chat.authority.poll_after_change(&*chat.store).await
}

/// Only the privileged learn whether a token that is not theirs exists.
pub(super) fn refusal(caller: &Caller) -> Error {
    if caller.is_privileged() { Error::Absent(Absent::Token) } else { Denial::ClientOnly.into() }
}
