use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::model::User;
use crate::policy;
use crate::store::{Page, PageRequest};

/// All users in the order of their creation. Needs `read` and a CLIENT token, or an unrestricted ADMIN token, because a token
/// for a few rooms must not reveal all users.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Unavailable`].
pub async fn list_users(chat: &AppContext, caller: &Caller, page: PageRequest) -> Result<Page<User>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.users(page).await
}
