//! Keeping and revoking tokens.

use chatsphere_core::store::{Done, NewToken};
use chatsphere_core::{Absent, ControlChange, Error, Timestamp, Token, TokenId, TokenRefusal, TokenWithUser};

use super::Effects;
use super::outcome::{earlier, keep};
use crate::write::database::WriteDatabase;
use crate::write::failure::{Stop, refuse};

pub(super) async fn create<D: WriteDatabase>(database: &mut D, new: &NewToken) -> Result<Done<TokenWithUser>, Stop> {
    let token = &new.token;
    if let Some(done) = earlier(database, new.idempotency.as_ref(), token.created_at).await? {
        return Ok(done);
    }
    let Some(user) = database.find_user(token.user_id).await? else {
        return refuse(Error::Absent(Absent::User));
    };
    let parent_pk = living_parent(database, token).await?;
    database.insert_token(token, user.pk, parent_pk).await?;
    let value = TokenWithUser { token: token.clone(), user: user.value };
    Ok(keep(database, new.idempotency.as_ref(), value, token.created_at).await?)
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
    token: TokenId,
    at: Timestamp,
    effects: &mut Effects,
) -> Result<(), Stop> {
    match database.find_token(token).await? {
        None => refuse(Error::Absent(Absent::Token)),
        // All below it was revoked with it.
        Some(token) if token.revoked => Ok(()),
        Some(_) => {
            let revoked = database.revoke_family(token, at).await?;
            effects.control.extend(revoked.into_iter().map(|token| (ControlChange::Token(token), at)));
            Ok(())
        }
    }
}
