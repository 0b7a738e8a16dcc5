//! Keeping and revoking tokens.

use chatsphere_core::store::{Done, Idempotency, NewToken, Revocation};
use chatsphere_core::{
    Absent, Actor, ControlChange, Error, Role, Timestamp, Token, TokenRefusal, TokenType, TokenWithUser, User, policy,
};

use super::names::{self, Named};
use super::outcome::{Minted, earlier, keep};
use super::{Effects, actor};
use crate::write::database::{Idempotencies, Keyed, WriteDatabase};
use crate::write::failure::{Failure, Stop, refuse};

pub(super) async fn create<D: WriteDatabase>(database: &mut D, new: &NewToken) -> Result<Done<TokenWithUser>, Stop> {
    let token = &new.token;
    if let Some(caller) = actor::caller(database, new.actor, token.created_at).await? {
        policy::may_mint(&caller, token)?;
    }
    if let Some(done) = minted_earlier(database, new.actor, new.idempotency.as_ref(), token.created_at).await? {
        return Ok(done);
    }
    let found = match token.token_type {
        TokenType::User => database.find_user(token.user_id).await?,
        TokenType::Client => database.find_user_to_change(token.user_id).await?,
    };
    let Some(user) = found else {
        return refuse(Error::Absent(Absent::User));
    };
    if token.token_type == TokenType::Client {
        guard_name(database, &user, token.created_at).await?;
    }
    let parent_pk = living_parent(database, token).await?;
    database.insert_token(token, user.pk, parent_pk).await?;
    let value = TokenWithUser { token: token.clone(), user: user.value };
    Ok(keep_minted(database, new.actor, new.idempotency.as_ref(), value, token.created_at).await?)
}

/// What the same minting call answered before, if it came before, and by the same token.
pub(super) async fn minted_earlier(
    database: &mut impl Idempotencies,
    actor: Actor,
    idempotency: Option<&Idempotency>,
    at: Timestamp,
) -> Result<Option<Done<TokenWithUser>>, Stop> {
    let Some(done) = earlier::<Minted>(database, idempotency, at).await? else { return Ok(None) };
    let Minted { token, user, minted_by } = done.value;
    policy::may_be_handed(actor, minted_by.or(token.parent))?;
    Ok(Some(Done { value: TokenWithUser { token, user }, replayed: done.replayed }))
}

/// Keeps what a minting call answers, and whom it may be handed again.
pub(super) async fn keep_minted(
    database: &mut impl Idempotencies,
    actor: Actor,
    idempotency: Option<&Idempotency>,
    value: TokenWithUser,
    at: Timestamp,
) -> Result<Done<TokenWithUser>, Failure> {
    if idempotency.is_none() {
        return Ok(Done { value, replayed: false });
    }
    let minted_by = if let Actor::Token(token) = actor { Some(token) } else { None };
    let minted = Minted { token: value.token.clone(), user: value.user.clone(), minted_by };
    keep(database, idempotency, minted, at).await?;
    Ok(Done { value, replayed: false })
}

/// A user in whose name a backend acts has a name that nobody else's looks like.
async fn guard_name<D: WriteDatabase>(database: &mut D, user: &Keyed<User>, now: Timestamp) -> Result<(), Stop> {
    if user.value.role != Role::Member || database.has_client_token(user.value.id, now).await? {
        return Ok(());
    }
    names::check(database, &Named { pk: Some(user.pk), name: &user.value.username, set: false, guarded: true, now }).await
}

/// The key of the token's parent, if it has one. A parent that is revoked, or was never kept here, mints nothing.
pub(super) async fn living_parent<D: WriteDatabase>(database: &mut D, token: &Token) -> Result<Option<i64>, Stop> {
    let Some(parent) = token.parent else { return Ok(None) };
    match database.find_token(parent).await? {
        Some(parent) if !parent.revoked => Ok(Some(parent.pk)),
        Some(_) => refuse(TokenRefusal::Revoked),
        None => refuse(TokenRefusal::Invalid),
    }
}

pub(super) async fn revoke<D: WriteDatabase>(
    database: &mut D,
    revocation: Revocation,
    effects: &mut Effects,
) -> Result<(), Stop> {
    let Revocation { token, actor, at } = revocation;
    let caller = actor::caller(database, actor, at).await?;
    let row = database.token_row(token).await?;
    if let Some(caller) = caller {
        // Only for a restricted token it matters where the other comes from, and that look goes back through all generations.
        let asks = row.is_some() && !caller.permissions.is_all() && token != caller.token_id;
        let descends = asks && database.descends(token, caller.token_id).await?;
        policy::may_revoke(&caller, row.as_ref(), descends)?;
    }
    match row {
        None => refuse(Error::Absent(Absent::Token)),
        // All below it was revoked with it.
        Some(row) if row.revoked_at.is_some() => Ok(()),
        Some(_) => {
            let revoked = database.revoke_family(token, at).await?;
            effects.control.extend(revoked.into_iter().map(|token| (ControlChange::Token(token), at)));
            Ok(())
        }
    }
}
