use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::TokenId;
use crate::policy;
use crate::store::Revocation;

/// Revokes a token and all tokens that it minted. Needs `delete`, unless the token revokes itself, and a CLIENT token or to be
/// the token's user; an ADMIN may revoke any USER token. A restricted token may revoke only itself and the tokens that it
/// minted. The revocation is effective on this node, open sockets included, when this returns. From then on no node stores
/// anything on behalf of the token.
///
/// # Errors
/// [`Error::Forbidden`], [`crate::NotFound::Token`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn revoke_token(chat: &AppContext, caller: &Caller, token: TokenId) -> Result<(), Error> {
    // A token that revokes itself is not rate limited.
    if !policy::revokes_itself(caller, Some(token)) {
        policy::may_delete(caller)?;
        chat.count_change(caller)?;
    }
    chat.store.submit(Revocation { token, actor: caller.actor(), at: chat.clock.now() }).await?;
    chat.authority.poll_after_change(&*chat.store).await
}
