//! Creates and changes users.

use chatsphere_core::store::{Done, ExternalUser, ExternalUserDone, NewUser, UserChange};
use chatsphere_core::{ControlChange, Error, InvalidField, NotFound, Role, Timestamp, Token, TokenWithUser, User, policy};

use super::names::{self, Named};
use super::{Effects, Origin, Rule, WriteInfo, actor, is_new, tokens};
use crate::write::database::{Claim, Keyed, WriteDatabase};
use crate::write::failure::{Stop, refuse};

impl WriteInfo for NewUser {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: None }
    }

    fn stored_bytes(&self) -> u64 {
        1_000
    }
}

impl Rule for NewUser {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, _: &mut Effects) -> Result<Done<TokenWithUser>, Stop> {
        if let Some(caller) = actor::caller(database, self.actor, self.at).await? {
            policy::may_create_user(&caller)?;
        }
        if let Some(done) = tokens::minted_earlier(database, self.actor, self.idempotency.as_ref(), self.at).await? {
            return Ok(done);
        }
        let guarded = self.role != Role::Member;
        names::check(database, &Named { pk: None, name: &self.username, set: true, guarded, now: self.at }).await?;
        let parent_pk = tokens::living_parent(database, &self.token).await?;
        let user = User {
            id: self.id,
            username: self.username.clone(),
            role: self.role,
            disabled: false,
            external_id: None,
            created_at: self.at,
            updated_at: self.at,
        };
        let user_pk = database.insert_user(&user).await?;
        database.insert_token(&self.token, user_pk, parent_pk).await?;
        let value = TokenWithUser { token: self.token.clone(), user };
        Ok(tokens::keep_minted(database, self.actor, self.idempotency.as_ref(), value, self.at).await?)
    }

    fn stored(answer: &Done<TokenWithUser>) -> bool {
        is_new(answer)
    }
}

impl WriteInfo for UserChange {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: None }
    }

    fn stored_bytes(&self) -> u64 {
        0
    }

    fn takes_rights(&self) -> bool {
        self.role.is_some() || self.disabled.is_some()
    }
}

impl Rule for UserChange {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<User, Stop> {
        if let Some(caller) = actor::caller(database, self.actor, self.at).await? {
            policy::may_change_user(&caller, self)?;
            if self.disabled == Some(true) {
                policy::may_disable(&caller, database.has_client_token(self.user_id, self.at).await?)?;
            }
        }
        let Some(found) = database.find_user_to_change(self.user_id).await? else {
            return refuse(Error::NotFound(NotFound::User));
        };
        let mut after = found.value.clone();
        if let Some(username) = &self.username {
            after.username = username.clone();
        }
        after.role = self.role.unwrap_or(after.role);
        after.disabled = self.disabled.unwrap_or(after.disabled);
        apply(database, &found, after, self.at, effects).await
    }
}

impl WriteInfo for ExternalUser {
    fn origin(&self) -> Origin {
        Origin { actor: self.actor, at: self.at, room: None }
    }

    fn held_bytes(&self) -> usize {
        self.token.as_ref().map_or(0, tokens::held_bytes)
    }

    fn stored_bytes(&self) -> u64 {
        1_000
    }

    fn takes_rights(&self) -> bool {
        self.role.is_some()
    }
}

impl Rule for ExternalUser {
    async fn carry_out<D: WriteDatabase>(&self, database: &mut D, effects: &mut Effects) -> Result<ExternalUserDone, Stop> {
        let caller = actor::caller(database, self.actor, self.at).await?;
        // The claim comes before the look-up, so that the second of two concurrent writes finds the user that the first
        // creates.
        database.claim(&[Claim::External(&self.external_id)]).await?;
        let found = database.find_external_user_to_change(&self.external_id).await?;
        if let Some(caller) = caller {
            policy::may_put_user(&caller, self.token.is_some() && found.is_some())?;
        }
        if let Some(refusal) = &self.unless_unchanged
            && self.username.as_ref() != found.as_ref().map(|found| &found.value.username)
        {
            return refuse(refusal.clone());
        }
        let (user, made) = match found {
            Some(found) => {
                let mut after = found.value.clone();
                if let Some(username) = &self.username {
                    after.username = username.clone();
                }
                after.role = self.role.unwrap_or(after.role);
                let value = apply(database, &found, after, self.at, effects).await?;
                (Keyed { pk: found.pk, value }, false)
            }
            None => (make_external(database, self).await?, true),
        };
        let token = self.token.clone().map(|token| Token { user_id: user.value.id, ..token });
        if let Some(token) = &token {
            database.insert_token(token, user.pk, None).await?;
        }
        Ok(ExternalUserDone { user: user.value, made, token })
    }

    fn stored(answer: &ExternalUserDone) -> bool {
        answer.made || answer.token.is_some()
    }
}

async fn make_external<D: WriteDatabase>(database: &mut D, wish: &ExternalUser) -> Result<Keyed<User>, Stop> {
    let Some(username) = wish.username.clone() else {
        return refuse(InvalidField::new("username", "is needed here, since there is no user with this externalId yet"));
    };
    let role = wish.role.unwrap_or(Role::Member);
    let named = Named { pk: None, name: &username, set: true, guarded: role != Role::Member, now: wish.at };
    names::check(database, &named).await?;
    let user = User {
        id: wish.id,
        username,
        role,
        disabled: false,
        external_id: Some(wish.external_id.clone()),
        created_at: wish.at,
        updated_at: wish.at,
    };
    let pk = database.insert_user(&user).await?;
    Ok(Keyed { pk, value: user })
}

/// Stores a user, if it has changed.
async fn apply<D: WriteDatabase>(
    database: &mut D,
    found: &Keyed<User>,
    mut after: User,
    at: Timestamp,
    effects: &mut Effects,
) -> Result<User, Stop> {
    let before = &found.value;
    if after == *before {
        return Ok(after);
    }
    check_name(database, found.pk, before, &after, at).await?;
    after.updated_at = at;
    database.update_user(found.pk, &after).await?;
    effects.control.push((ControlChange::User(after.id), at));
    Ok(after)
}

/// Checks a name when it is set, when its user gets rights over others, and when its user is enabled again. Disabled users with
/// rights over others keep their names protected.
async fn check_name<D: WriteDatabase>(
    database: &mut D,
    pk: i64,
    before: &User,
    after: &User,
    now: Timestamp,
) -> Result<(), Stop> {
    let set = after.username != before.username;
    let promoted = after.role != Role::Member && after.role != before.role;
    let enabled = before.disabled && !after.disabled;
    if !(set || promoted || enabled) {
        return Ok(());
    }
    let guarded = after.role != Role::Member || database.has_client_token(after.id, now).await?;
    if guarded && !set && !promoted {
        return Ok(());
    }
    names::check(database, &Named { pk: Some(pk), name: &after.username, set, guarded, now }).await
}
