use crate::caller::Caller;
use crate::chat::Chat;
use crate::error::{Absent, Error};
use crate::ids::UserId;
use crate::model::User;
use crate::policy;

/// A user. Needs `read`, and for another than oneself what [`list_users`](super::list_users) needs. What only those may see
/// who could list users, the application's own id for it, is left out for oneself.
///
/// # Errors
/// [`Error::Denied`], [`Absent::User`], [`Error::Outage`].
pub async fn read_user(chat: &Chat, caller: &Caller, user: UserId) -> Result<User, Error> {
    policy::may_read(caller)?;
    let granted = policy::may_grant_rights(caller);
    if !caller.is(user) {
        granted?;
    }
    let found = chat.store.user(user).await?.ok_or(Error::Absent(Absent::User))?;
    Ok(User { external_id: found.external_id.filter(|_| granted.is_ok()), ..found })
}

/// The user of exactly this name, byte for byte. Needs what [`list_users`](super::list_users) needs.
///
/// # Errors
/// [`Error::Denied`], [`Error::Outage`].
pub async fn find_user(chat: &Chat, caller: &Caller, username: &str) -> Result<Option<User>, Error> {
    policy::may_read(caller)?;
    policy::may_grant_rights(caller)?;
    chat.store.user_by_name(username).await
}
