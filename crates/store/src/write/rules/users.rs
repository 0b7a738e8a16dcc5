//! Making and changing users.

use chatsphere_core::store::{Done, NewUser, UserChange};
use chatsphere_core::{Absent, Conflict, ControlChange, Error, TokenWithUser, User, policy};

use super::{Effects, actor, tokens};
use crate::write::database::WriteDatabase;
use crate::write::failure::{Stop, refuse};

pub(super) async fn create<D: WriteDatabase>(database: &mut D, new: &NewUser) -> Result<Done<TokenWithUser>, Stop> {
    if let Some(caller) = actor::caller(database, new.actor, new.at).await? {
        policy::may_create_user(&caller)?;
    }
    if let Some(done) = tokens::minted_earlier(database, new.actor, new.idempotency.as_ref(), new.at).await? {
        return Ok(done);
    }
    if database.is_name_taken(&new.username).await? {
        return refuse(Conflict::UsernameTaken);
    }
    let parent_pk = tokens::living_parent(database, &new.token).await?;
    let user = User {
        id: new.id,
        username: new.username.clone(),
        role: new.role,
        disabled: false,
        created_at: new.at,
        updated_at: new.at,
    };
    let user_pk = database.insert_user(&user).await?;
    database.insert_token(&new.token, user_pk, parent_pk).await?;
    let value = TokenWithUser { token: new.token.clone(), user };
    Ok(tokens::keep_minted(database, new.actor, new.idempotency.as_ref(), value, new.at).await?)
}

pub(super) async fn change<D: WriteDatabase>(
    database: &mut D,
    change: &UserChange,
    effects: &mut Effects,
) -> Result<User, Stop> {
    if let Some(caller) = actor::caller(database, change.actor, change.at).await? {
        policy::may_change_user(&caller, change)?;
        if change.disabled == Some(true) {
            policy::may_disable(&caller, database.has_client_token(change.user_id, change.at).await?)?;
        }
    }
    let Some(found) = database.find_user_to_change(change.user_id).await? else {
        return refuse(Error::Absent(Absent::User));
    };
    let before = found.value;
    let mut after = before.clone();
    if let Some(username) = &change.username {
        after.username = username.clone();
    }
    after.role = change.role.unwrap_or(before.role);
    after.disabled = change.disabled.unwrap_or(before.disabled);
    if after == before {
        return Ok(before);
    }
    if after.username != before.username && database.is_name_taken(&after.username).await? {
        return refuse(Conflict::UsernameTaken);
    }
    after.updated_at = change.at;
    database.update_user(found.pk, &after).await?;
    effects.control.push((ControlChange::User(after.id), change.at));
    Ok(after)
}
