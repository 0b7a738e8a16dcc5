use std::borrow::Cow;

use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, NotFound};
use crate::ids::UserId;
use crate::model::UserRef;
use crate::policy;
use crate::token::TokenType;

/// The caller, or, with a CLIENT token that names a user, that user: with its rights and limits, within the token's
/// permissions.
///
/// # Errors
/// [`Error::Forbidden`] where another token names somebody else; [`NotFound::User`] if there is no such user, or it is
/// disabled; [`Error::Unavailable`].
pub async fn act_as<'a>(chat: &AppContext, caller: &'a Caller, user: Option<UserId>) -> Result<Cow<'a, Caller>, Error> {
    let id = policy::acting_user(caller, user)?;
    if user.is_none() || !caller.may_name_others() {
        return Ok(Cow::Borrowed(caller));
    }
    let user = chat.store.user(id).await?.filter(|user| !user.disabled).ok_or(Error::NotFound(NotFound::User))?;
    let caller =
        Caller { token_type: TokenType::User, user: UserRef::from(&user), role: user.role, operator: false, ..caller.clone() };
    Ok(Cow::Owned(caller))
}
