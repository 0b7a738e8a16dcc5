use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::Error;
use crate::model::User;
use crate::policy;
use crate::store::{Page, PageRequest};

/// All users, in the order they were made. Needs `read` and a CLIENT token, or an unrestricted ADMIN token: one for a few
/// rooms is not to learn who else there is.
///
/// # Errors
/// [`Error::Denied`], [`Error::Outage`].
pub async fn list_users(chat: &Chat, caller: &Caller, page: PageRequest) -> Result<Page<User>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.users(page).await
}
