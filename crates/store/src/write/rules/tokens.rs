//! Stores and revokes tokens.

use chatsphere_core::store::{Done, Idempotency, NewToken, Revocation};
use chatsphere_core::{
    Actor, ControlChange, Error, NotFound, Role, Timestamp, Token, TokenRefusal, TokenType, TokenWithUser, User, policy,
};

use super::names::{self, Named};
use super::outcome::{Minted, earlier, keep};
use super::{Effects, Origin, Rule, WriteInfo, actor, is_new};
use crate::write::database::{Idempotencies, Keyed, WriteDatabase};
use crate::write::failure::{Failure, Stop, refuse};

impl WriteInfo for NewToken {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.token.created_at, room: None }
    }

    fn held_bytes(&self) -> usize {
        held_bytes(&self.token)
    }

    /// The rooms of the permissions are counted for the row and for the stored outcome.
    fn stored_bytes(&self) -> u64 {
        let rooms = self.token.permissions.rooms.as_ref().map_or(0, Vec::len);
        u64::try_from(600 + rooms * 100).unwrap_or(u64::MAX)
    }
}

impl Rule for NewToken {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, _: &mut Effects) -> Result<Done<TokenWithUser>, Stop> {
        let token = &self.token;
        if let Some(caller) = actor::caller(database, self.actor, token.created_at).await? {
            policy::may_mint(&caller, token)?;
        }
        if let Some(done) = minted_earlier(database, self.actor, self.idempotency.as_ref(), token.created_at).await? {
            return Ok(done);
        }
        let found = match token.token_type {
            TokenType::User => database.find_user(token.user_id).await?,
            TokenType::Client => database.find_user_to_change(token.user_id).await?,
        };
        let Some(user) = found else {
            return refuse(Error::NotFound(NotFound::User));
        };
        if token.token_type == TokenType::Client {
            guard_name(database, &user, token.created_at).await?;
        }
        let parent_pk = living_parent(database, token).await?;
        database.insert_token(token, user.pk, parent_pk).await?;
        let value = TokenWithUser { token: token.clone(), user: user.value };
        Ok(keep_minted(database, self.actor, self.idempotency.as_ref(), value, token.created_at).await?)
    }

    fn stored(answer: &Done<TokenWithUser>) -> bool {
        is_new(answer)
    }
}

/// Returns the bytes of memory that a token's rooms take.
pub(super) fn held_bytes(token: &Token) -> usize {
    token.permissions.rooms.as_ref().map_or(0, |rooms| size_of_val(rooms.as_slice()))
}

/// Returns the answer of an earlier, equal minting call, if the same token made it.
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

/// Stores the answer of a minting call, and which token may get it again.
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
    let minted = Minted { token: value.token.clone(), user: value.user.clone(), minted_by: actor.token() };
    keep(database, idempotency, minted, at).await?;
    Ok(Done { value, replayed: false })
}

/// Checks that no other name looks like that of a user for whom a CLIENT token acts.
async fn guard_name<D: WriteDatabase>(database: &mut D, user: &Keyed<User>, now: Timestamp) -> Result<(), Stop> {
    if user.value.role != Role::Member || database.has_client_token(user.value.id, now).await? {
        return Ok(());
    }
    names::check(database, &Named { pk: Some(user.pk), name: &user.value.username, set: false, guarded: true, now }).await
}

/// Returns the key of the token's parent, if it has one. A parent that is revoked or not stored can't mint.
pub(super) async fn living_parent<D: WriteDatabase>(database: &mut D, token: &Token) -> Result<Option<i64>, Stop> {
    let Some(parent) = token.parent else { return Ok(None) };
    match database.find_token(parent).await? {
        Some(parent) if !parent.revoked => Ok(Some(parent.pk)),
        Some(_) => refuse(TokenRefusal::Revoked),
        None => refuse(TokenRefusal::Invalid),
    }
}

impl WriteInfo for Revocation {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: None }
    }

    fn stored_bytes(&self) -> u64 {
        0
    }

    fn takes_rights(&self) -> bool {
        true
    }
}

impl Rule for Revocation {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<(), Stop> {
        let Self { token, actor, at } = *self;
        let caller = actor::caller(database, actor, at).await?;
        let row = database.token_row(token).await?;
        if let Some(caller) = caller {
            // The origin of the token matters only to a restricted token. This look-up goes back through all generations.
            let asks = row.is_some() && !caller.permissions.is_all() && token != caller.token_id;
            let descends = asks && database.descends(token, caller.token_id).await?;
            policy::may_revoke(&caller, row.as_ref(), descends)?;
        }
        match row {
            None => refuse(Error::NotFound(NotFound::Token)),
            // The tokens that it minted were revoked with it.
            Some(row) if row.revoked_at.is_some() => Ok(()),
            Some(_) => {
                let revoked = database.revoke_family(token, at).await?;
                effects.control.extend(revoked.into_iter().map(|token| (ControlChange::Token(token), at)));
                Ok(())
            }
        }
    }
}
