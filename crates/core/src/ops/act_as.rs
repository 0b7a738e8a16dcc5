use std::borrow::Cow;

use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::UserId;
use crate::policy;

/// Returns the caller or, if a CLIENT token names a user, that user with its own rights and limits, within the token's
/// permissions.
///
/// # Errors
/// [`Error::Forbidden`] if another type of token names another user; [`NotFound::User`] if the user does not exist or is
/// disabled; [`Error::Unavailable`].
pub async fn act_as<'a>(chat: &AppContext, caller: &'a Caller, user: Option<UserId>) -> Result<Cow<'a, Caller>, Error> {
    let id = policy::acting_user(caller, user)?;
    if user.is_none() || !caller.may_name_others() {
        return Ok(Cow::Borrowed(caller));
    }
    let user = chat.store.user(id).await?;
    Ok(Cow::Owned(policy::acting_caller(caller, user.as_ref())?))
}
