use super::mint_token;
use crate::app_context::AppContext;
use crate::error::Error;
use crate::ids::UserId;
use crate::model::Role;
use crate::store::{Actor, NewToken, NewUser, PageRequest};
use crate::text::{Email, Username};
use crate::token::{Permissions, Token, TokenType};

/// The name of the user that the first start creates.
pub const FIRST_ADMIN: &str = "admin";
/// The email address of the first CLIENT token, which distinguishes it from later ones.
pub const FIRST_EMAIL: &str = "admin@localhost";

/// Creates the user `admin` with the role ADMIN, and a CLIENT token for it, if there are no users. Returns `None` if there are.
/// Used at the first start of an installation.
///
/// # Errors
/// [`Error::Unavailable`]; [`crate::Conflict::UsernameTaken`] if another process did the same at the same time.
pub async fn bootstrap(chat: &AppContext) -> Result<Option<Token>, Error> {
    if !chat.store.users(PageRequest { cursor: None, limit: 1 }).await?.items.is_empty() {
        return Ok(None);
    }
    let now = chat.clock.now();
    let id = UserId::new(now);
    let username = Username::from_stored(FIRST_ADMIN.to_owned());
    // Every user is created with a USER token. Nobody receives this one, so it is created revoked.
    let unused =
        Token { revoked_at: Some(now), ..mint_token::row(chat, TokenType::User, id, Permissions::ALL, chat.lifetimes.user) };
    let (role, actor) = (Role::Admin, Actor::Operator);
    chat.store.submit(NewUser { id, username, role, token: unused, actor, idempotency: None, at: now }).await?;
    let mut token = mint_token::row(chat, TokenType::Client, id, Permissions::ALL, chat.lifetimes.client);
    token.email = Some(Email::from_stored(FIRST_EMAIL.to_owned()));
    let done = chat.store.submit(NewToken { token, actor, idempotency: None }).await?;
    let token = done.value.token.id;
    tracing::info!(target: "audit", action = "installation.create", outcome = "ok", on_user = %id, on_token = %token, "audit");
    Ok(Some(done.value.token))
}
