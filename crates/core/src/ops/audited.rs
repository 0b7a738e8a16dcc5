//! The ops that change rights or affect other users. Each writes a line to the audit log (target `audit`) with the actor, the
//! subject and the outcome. Lines contain ids, but no names or contents. The client's address is a field of the call's span.

use super::{
    AddMember, ChangeUser, CreateRoom, CreateUser, MintClientToken, MintUserToken, PutExternalUser, RemoveMember,
    add_member as add, change_user as change, create_room as open_room, create_user as create, mint_token,
    put_external_user as put, remove_member as remove, revoke_token as revoke,
};
use crate::app_context::AppContext;
use crate::caller::Caller;
use crate::error::Error;
use crate::ids::{RoomId, TokenId, UserId};
use crate::model::{Role, Room, User};
use crate::store::{Done, ExternalUserDone, MembershipChanged};
use crate::token::{TokenType, TokenWithUser};

/// The subject of an audited action.
#[derive(Default)]
struct On {
    user: Option<UserId>,
    token: Option<TokenId>,
    room: Option<RoomId>,
}

impl On {
    fn user(user: UserId) -> Self {
        Self { user: Some(user), ..Self::default() }
    }
}

fn record<T>(caller: &Caller, action: &'static str, detail: Option<&str>, on: &On, outcome: &Result<T, Error>) {
    let outcome = outcome.as_ref().map_or_else(Error::code, |_| "ok");
    let On { user, token, room } = on;
    tracing::info!(
        target: "audit",
        action,
        detail,
        outcome,
        by = %caller.user.id,
        by_token = %caller.token_id,
        by_type = caller.token_type.as_str(),
        on_user = user.map(display),
        on_token = token.map(display),
        on_room = room.map(display),
        "audit"
    );
}

/// [`create::create_user`], with a line in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn create_user(chat: &AppContext, caller: &Caller, user: CreateUser) -> Result<Done<TokenWithUser>, Error> {
    let role = user.role.unwrap_or(Role::Member);
    let outcome = create::create_user(chat, caller, user).await;
    let made = outcome.as_ref().ok().map(|done| &done.value);
    let on = On { user: made.map(|made| made.user.id), token: made.map(|made| made.token.id), room: None };
    record(caller, "user.create", Some(role.as_str()), &on, &outcome);
    outcome
}

/// [`rename_and_change_user`] without a new name.
///
/// # Errors
/// The errors of that op.
pub async fn change_user(chat: &AppContext, caller: &Caller, user: ChangeUser) -> Result<User, Error> {
    rename_and_change_user(chat, caller, user, None).await
}

/// [`change::rename_and_change_user`], with lines in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn rename_and_change_user(
    chat: &AppContext,
    caller: &Caller,
    user: ChangeUser,
    username: Option<String>,
) -> Result<User, Error> {
    let on = On::user(user.user_id);
    let ChangeUser { role, disabled, .. } = user;
    let renamed = username.is_some();
    let outcome = change::rename_and_change_user(chat, caller, user, username).await;
    if renamed {
        record(caller, "user.rename", None, &on, &outcome);
    }
    if let Some(role) = role {
        record(caller, "user.role", Some(role.as_str()), &on, &outcome);
    }
    if let Some(disabled) = disabled {
        record(caller, if disabled { "user.disable" } else { "user.enable" }, None, &on, &outcome);
    }
    outcome
}

/// [`mint_token::mint_user_token`], with a line in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn mint_user_token(chat: &AppContext, caller: &Caller, mint: MintUserToken) -> Result<Done<TokenWithUser>, Error> {
    let user = mint.user_id;
    let outcome = mint_token::mint_user_token(chat, caller, mint).await;
    record(caller, "token.create", Some(TokenType::User.as_str()), &minted(user, &outcome), &outcome);
    outcome
}

/// [`mint_token::mint_client_token`], with a line in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn mint_client_token(
    chat: &AppContext,
    caller: &Caller,
    mint: MintClientToken,
) -> Result<Done<TokenWithUser>, Error> {
    let user = mint.user_id;
    let outcome = mint_token::mint_client_token(chat, caller, mint).await;
    record(caller, "token.create", Some(TokenType::Client.as_str()), &minted(user, &outcome), &outcome);
    outcome
}

fn minted(user: UserId, outcome: &Result<Done<TokenWithUser>, Error>) -> On {
    On { token: outcome.as_ref().ok().map(|done| done.value.token.id), ..On::user(user) }
}

/// [`revoke::revoke_token`], with a line in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn revoke_token(chat: &AppContext, caller: &Caller, token: TokenId) -> Result<(), Error> {
    let outcome = revoke::revoke_token(chat, caller, token).await;
    record(caller, "token.revoke", None, &On { token: Some(token), ..On::default() }, &outcome);
    outcome
}

/// [`add::add_member`], with a line in the audit log if the caller is privileged, and so need not be in the room.
///
/// # Errors
/// The errors of that op.
pub async fn add_member(chat: &AppContext, caller: &Caller, member: AddMember) -> Result<Done<MembershipChanged>, Error> {
    let on = On { room: Some(member.room_id), ..On::user(member.user_id) };
    let outcome = add::add_member(chat, caller, member).await;
    if caller.is_privileged() {
        record(caller, "member.add", None, &on, &outcome);
    }
    outcome
}

/// [`remove::remove_member`], with a line in the audit log if another user is removed.
///
/// # Errors
/// The errors of that op.
pub async fn remove_member(chat: &AppContext, caller: &Caller, member: RemoveMember) -> Result<MembershipChanged, Error> {
    let on = On { room: Some(member.room_id), ..On::user(member.user_id) };
    let outcome = remove::remove_member(chat, caller, member).await;
    if caller.token_type == TokenType::Client || !caller.is(member.user_id) {
        record(caller, "member.remove", None, &on, &outcome);
    }
    outcome
}

/// [`open_room::create_room`], with a line in the audit log if it is created for another user.
///
/// # Errors
/// The errors of that op.
pub async fn create_room(chat: &AppContext, caller: &Caller, room: CreateRoom) -> Result<Done<Room>, Error> {
    let owner = room.owner.filter(|owner| *owner != caller.user.id);
    let outcome = open_room::create_room(chat, caller, room).await;
    if let Some(owner) = owner {
        let room = outcome.as_ref().ok().map(|done| done.value.id);
        record(caller, "room.create", None, &On { room, ..On::user(owner) }, &outcome);
    }
    outcome
}

/// [`put::put_external_user`], with a line in the audit log.
///
/// # Errors
/// The errors of that op.
pub async fn put_external_user(chat: &AppContext, caller: &Caller, user: PutExternalUser) -> Result<ExternalUserDone, Error> {
    let role = user.role;
    let outcome = put::put_external_user(chat, caller, user).await;
    let done = outcome.as_ref().ok();
    let on = On {
        user: done.map(|done| done.user.id),
        token: done.and_then(|done| done.token.as_ref().map(|token| token.id)),
        room: None,
    };
    record(caller, "user.put", role.map(Role::as_str), &on, &outcome);
    outcome
}
