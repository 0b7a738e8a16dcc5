use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::model::User;
use crate::policy;
use crate::store::UserChange;
use crate::text::Username;

/// Renames the caller's own user. Needs `write`.
///
/// # Errors
/// [`Error::Invalid`], [`crate::Conflict::UsernameTaken`], [`Error::RateLimited`], [`Error::Unavailable`].
pub async fn change_profile(chat: &AppContext, caller: &Caller, username: String) -> Result<User, Error> {
    policy::may_write(caller)?;
    // A user may keep a name that is older than a rule and violates it.
    let username = match username == caller.user.username.as_str() {
        true => caller.user.username.clone(),
        false => Username::parse(username, &chat.limits)?,
    };
    chat.count_change(caller)?;
    let (user_id, actor, at) = (caller.user.id, caller.actor(), chat.clock.now());
    let change = UserChange { user_id, username: Some(username), role: None, disabled: None, actor, at };
    let user = chat.store.submit(change).await?;
    chat.authority.poll_after_change(&*chat.store).await?;
    Ok(user)
}
