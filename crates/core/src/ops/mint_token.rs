use std::time::Duration;

use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::{Error, InvalidField};
use crate::ids::{TokenId, UserId};
use crate::policy;
use crate::store::{Done, Idempotency, NewToken};
use crate::text::Email;
use crate::time::Timestamp;
use crate::token::{Permissions, Token, TokenType, TokenWithUser};

/// The longest lifetime of any token: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Most rooms that a token's permissions may name.
const MAX_ROOMS: usize = 1_000;

/// A USER token to mint.
#[derive(Debug, Clone)]
pub struct MintUserToken {
    /// The token's user.
    pub user_id: UserId,
    /// The permissions; all if absent.
    pub permissions: Option<Permissions>,
    /// The lifetime; the default if absent.
    pub expires_in: Option<Duration>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// A CLIENT token to mint.
#[derive(Debug, Clone)]
pub struct MintClientToken {
    /// The user for whom the token acts in calls that name no other.
    pub user_id: UserId,
    /// The email address of its holder.
    pub email: String,
    /// The lifetime; the default if absent.
    pub expires_in: Option<Duration>,
    /// From the `Idempotency-Key`, if any.
    pub idempotency: Option<Idempotency>,
}

/// Mints a USER token. A CLIENT token mints for any user. A USER token mints for its own user, with at most its own rights and
/// lifetime, and revoking it revokes the minted token. Needs `write`.
///
/// # Errors
/// [`Error::Invalid`], [`crate::Forbidden::NotYourself`], [`crate::Forbidden::MoreRights`], [`crate::NotFound::User`],
/// [`Error::RateLimited`], [`Error::Unavailable`].
pub(super) async fn mint_user_token(
    chat: &AppContext,
    caller: &Caller,
    mint: MintUserToken,
) -> Result<Done<TokenWithUser>, Error> {
    policy::may_write(caller)?;
    policy::acting_user(caller, Some(mint.user_id))?;
    let life = check_life(mint.expires_in.unwrap_or(chat.lifetimes.user))?;
    let token = if caller.token_type == TokenType::Client {
        let permissions = check_rooms(mint.permissions.unwrap_or(Permissions::ALL))?;
        row(chat, TokenType::User, mint.user_id, permissions, life)
    } else {
        let permissions = check_rooms(mint.permissions.unwrap_or_else(|| caller.permissions.clone()))?;
        let mut token = row(chat, TokenType::User, mint.user_id, permissions, life);
        token.expires_at = token.expires_at.min(caller.expires_at);
        token.parent = Some(caller.token_id);
        token
    };
    policy::may_mint(caller, &token)?;
    chat.count_change(caller)?;
    chat.store.submit(NewToken { token, actor: caller.actor(), idempotency: mint.idempotency }).await
}

/// Mints a CLIENT token. Needs a CLIENT token. An ADMIN's is not enough, because a CLIENT token may act for any user.
///
/// # Errors
/// [`Error::Invalid`], [`crate::Forbidden::ClientOnly`], [`crate::NotFound::User`], [`crate::Conflict::UsernameLookalike`],
/// [`Error::Unavailable`].
pub(super) async fn mint_client_token(
    chat: &AppContext,
    caller: &Caller,
    mint: MintClientToken,
) -> Result<Done<TokenWithUser>, Error> {
    policy::is_client(caller)?;
    let life = check_life(mint.expires_in.unwrap_or(chat.lifetimes.client))?;
    let mut token = row(chat, TokenType::Client, mint.user_id, Permissions::ALL, life);
    token.email = Some(Email::parse(mint.email)?);
    chat.store.submit(NewToken { token, actor: caller.actor(), idempotency: mint.idempotency }).await
}

/// Makes a new token's row. JWTs count in whole seconds (RFC 7519, section 2), so the row does too.
pub(super) fn row(
    chat: &AppContext,
    token_type: TokenType,
    user_id: UserId,
    permissions: Permissions,
    life: Duration,
) -> Token {
    let now = chat.clock.now();
    let created_at = Timestamp::from_millis(now.as_seconds() * 1_000);
    let expires_at = created_at.after(life);
    let id = TokenId::new(now);
    Token { id, token_type, user_id, permissions, parent: None, email: None, created_at, expires_at, revoked_at: None }
}

pub(super) fn check_life(life: Duration) -> Result<Duration, InvalidField> {
    let life = Duration::from_secs(life.as_secs());
    if life.is_zero() || life > LONGEST {
        return Err(InvalidField::new("expiresIn", "must be between 1s and 3650d, such as 7d, 12h or 90s"));
    }
    Ok(life)
}

pub(super) fn check_rooms(permissions: Permissions) -> Result<Permissions, InvalidField> {
    match &permissions.rooms {
        Some(rooms) if rooms.len() > MAX_ROOMS => {
            Err(InvalidField::new("permissions.rooms", format!("must name at most {MAX_ROOMS} rooms")))
        }
        _ => Ok(permissions),
    }
}
