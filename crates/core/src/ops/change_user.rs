use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::UserId;
use crate::model::{Role, User};
use crate::policy;
use crate::store::UserChange;
use crate::text::Username;

/// A change of a user's role or state. Absent fields stay as they are.
#[derive(Debug, Clone, Copy)]
pub struct ChangeUser {
    /// The user.
    pub user_id: UserId,
    /// The new role.
    pub role: Option<Role>,
    /// Whether to disable or to enable the user.
    pub disabled: Option<bool>,
}

/// Changes a user's role, state and name, all or none of them. Needs `write` and an unrestricted CLIENT or ADMIN token.
/// Disabling a user for whom a CLIENT token acts needs a CLIENT token. The change is effective on this node, open sockets
/// included, when this returns.
///
/// # Errors
/// [`Error::Forbidden`], [`Error::Invalid`], [`crate::NotFound::User`], [`crate::Conflict::UsernameTaken`],
/// [`crate::Conflict::UsernameLookalike`], [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn rename_and_change_user(
    chat: &AppContext,
    caller: &Caller,
    change: ChangeUser,
    username: Option<String>,
) -> Result<User, Error> {
    policy::may_write(caller)?;
    policy::may_grant_rights(caller)?;
    let ChangeUser { user_id, role, disabled } = change;
    let username = username.map(|name| Username::parse(name, &chat.limits)).transpose()?;
    let at = chat.clock.now();
    let change = UserChange { user_id, username, role, disabled, actor: caller.actor(), at };
    policy::may_change_user(caller, &change)?;
    chat.count_change(caller)?;
    let user = chat.store.submit(change).await?;
    chat.authority.poll_after_change(&*chat.store).await?;
    Ok(user)
}
