use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::policy;
use crate::store::{Page, PageRequest};
use crate::token::TokenWithUser;

/// The data of all tokens, newest first, without the tokens themselves. Needs `read` and a CLIENT token, or an unrestricted
/// ADMIN token, because a restricted one must not reveal who has which rights.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Unavailable`].
pub async fn list_tokens(chat: &AppContext, caller: &Caller, page: PageRequest) -> Result<Page<TokenWithUser>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.tokens(page).await
}
