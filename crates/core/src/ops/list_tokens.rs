use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::Error;
use crate::policy;
use crate::store::{Page, PageRequest};
use crate::token::TokenWithUser;

/// All tokens, newest first; never the tokens themselves. Needs `read` and a CLIENT or ADMIN token.
///
/// # Errors
/// [`Error::Denied`], [`Error::Outage`].
pub async fn list_tokens(chat: &Chat, caller: &Caller, page: PageRequest) -> Result<Page<TokenWithUser>, Error> {
    policy::may_read(caller)?;
    policy::is_privileged(caller)?;
    chat.store.tokens(page).await
}
