use super::mint_token;
use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::UserId;
use crate::model::Role;
use crate::policy;
use crate::store::{Done, Idempotency, NewUser};
use crate::text::Username;
use crate::token::{Permissions, TokenType, TokenWithUser};

/// A user to create.
#[derive(Debug, Clone)]
pub struct CreateUser {
    /// The username, which no other user may have.
    pub username: String,
    /// The role; MEMBER if absent.
    pub role: Option<Role>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Creates a user and its first USER token. Needs `write` and an unrestricted CLIENT or ADMIN token.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Forbidden`], [`crate::Conflict::UsernameTaken`], [`Error::RateLimited`],
/// [`Error::Unavailable`].
pub(super) async fn create_user(chat: &AppContext, caller: &Caller, user: CreateUser) -> Result<Done<TokenWithUser>, Error> {
    policy::may_create_user(caller)?;
    let username = Username::parse(user.username, &chat.limits)?;
    chat.count_change(caller)?;
    let now = chat.clock.now();
    let id = UserId::new(now);
    let token = mint_token::row(chat, TokenType::User, id, Permissions::ALL, chat.lifetimes.user);
    let role = user.role.unwrap_or(Role::Member);
    let (actor, idempotency) = (caller.actor(), user.idempotency);
    chat.store.submit(NewUser { id, username, role, token, actor, idempotency, at: now }).await
}
