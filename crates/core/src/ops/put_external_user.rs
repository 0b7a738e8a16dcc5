use std::time::Duration;

use super::mint_token;
use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, InvalidField};
use crate::ids::UserId;
use crate::model::Role;
use crate::policy;
use crate::store::{ExternalUser, ExternalUserDone};
use crate::text::{ExternalId, Username};
use crate::token::{Permissions, TokenType};

/// A user to create, or to find and change, by the application's own id. Absent fields stay as they are; at least one of
/// `username`, `role` and `token` is required.
#[derive(Debug, Clone)]
pub struct PutExternalUser {
    /// The application's own id of the user.
    pub external_id: String,
    /// The username, which no other user may have. Required to create the user.
    pub username: Option<String>,
    /// The role. A new user is a MEMBER by default.
    pub role: Option<Role>,
    /// A USER token to mint.
    pub token: Option<WantedToken>,
}

/// A USER token to mint for a user.
#[derive(Debug, Clone, Default)]
pub struct WantedToken {
    /// The permissions; all if absent.
    pub permissions: Option<Permissions>,
    /// The lifetime; the default if absent.
    pub expires_in: Option<Duration>,
}

/// Creates a user, or finds and changes it, and mints a token for it if the call requests one. Needs `write` and an
/// unrestricted CLIENT or ADMIN token; to mint a token for an existing user, a CLIENT token. Changes are effective on this
/// node, open sockets included, when this returns.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`crate::Conflict::UsernameTaken`], [`crate::Conflict::UsernameLookalike`],
/// [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn put_external_user(
    chat: &AppContext,
    caller: &Caller,
    put: PutExternalUser,
) -> Result<ExternalUserDone, Error> {
    policy::may_put_user(caller, false)?;
    chat.count_change(caller)?;
    let external_id = ExternalId::parse(put.external_id)?;
    if put.username.is_none() && put.role.is_none() && put.token.is_none() {
        return Err(InvalidField::new("username", "is needed, or role, or token: this changes nothing").into());
    }
    let at = chat.clock.now();
    let id = UserId::new(at);
    let token = match put.token {
        None => None,
        Some(wanted) => {
            let life = mint_token::check_life(wanted.expires_in.unwrap_or(chat.lifetimes.user))?;
            let permissions = mint_token::check_rooms(wanted.permissions.unwrap_or(Permissions::ALL))?;
            Some(mint_token::row(chat, TokenType::User, id, permissions, life))
        }
    };
    let (username, unless_unchanged) = match put.username {
        None => (None, None),
        Some(text) => match Username::parse(text.clone(), &chat.limits) {
            Ok(name) => (Some(name), None),
            // A user may keep a name that is older than a rule and violates it. The commit decides, since only it knows the
            // user.
            Err(refusal) => (Some(Username::from_stored(text)), Some(refusal)),
        },
    };
    let (role, actor) = (put.role, caller.actor());
    let wish = ExternalUser { external_id, id, username, unless_unchanged, role, token, actor, at };
    let done = chat.store.submit(wish).await?;
    if !done.made {
        chat.authority.poll_after_change(&*chat.store).await?;
    }
    Ok(done)
}
