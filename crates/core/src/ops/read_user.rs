use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::UserId;
use crate::model::User;
use crate::policy;

/// A user. Needs `read`; for another user also the rights that [`list_users`](super::list_users) needs. A caller without these
/// rights gets its own user without the application's id.
///
/// # Errors
/// [`Error::Forbidden`], [`NotFound::User`], [`Error::Unavailable`].
pub async fn read_user(chat: &AppContext, caller: &Caller, user: UserId) -> Result<User, Error> {
    policy::may_read(caller)?;
    let granted = policy::may_grant_rights(caller);
    if !caller.is(user) {
        granted?;
    }
    let found = chat.store.user(user).await?.ok_or(Error::NotFound(NotFound::User))?;
    Ok(User { external_id: found.external_id.filter(|_| granted.is_ok()), ..found })
}

/// The user with exactly this name, byte for byte. Needs the rights that [`list_users`](super::list_users) needs.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Unavailable`].
pub async fn find_user(chat: &AppContext, caller: &Caller, username: &str) -> Result<Option<User>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.user_by_name(username).await
}
