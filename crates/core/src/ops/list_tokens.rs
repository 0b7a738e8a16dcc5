use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::Error;
use crate::policy;
use crate::store::{Page, PageRequest};
use crate::token::TokenWithUser;

/// All tokens, newest first; never the tokens themselves. Needs `read` and a CLIENT token, or an unrestricted
/// ADMIN token: a restricted one is not to learn who else holds what.
///
/// # Errors
/// [`Error::Denied`], [`Error::Outage`].
pub async fn list_tokens(chat: &Chat, caller: &Caller, page: PageRequest) -> Result<Page<TokenWithUser>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.tokens(page).await
}
