//! Permissions. Every rule about rights is a function of this module, and only this module returns a [`Forbidden`].
//!
//! An op first checks what can be judged from memory, so that most forbidden calls fail early. The store checks again within
//! the commit, with the caller and the facts of that moment, and that result counts.

use crate::caller::{Caller, TokenState};
use crate::error::{Error, Forbidden, NotFound, TokenRefusal};
use crate::ids::{RoomId, TokenId, UserId};
use crate::model::{Role, User, UserRef};
use crate::store::{Access, Actor, NewMessage, RoomRelation, UserChange};
use crate::token::{Token, TokenType};

/// The token allows reading.
pub fn may_read(caller: &Caller) -> Result<(), Forbidden> {
    if caller.permissions.read { Ok(()) } else { Err(Forbidden::NeedsRead) }
}

/// The token allows writing.
pub fn may_write(caller: &Caller) -> Result<(), Forbidden> {
    if caller.permissions.write { Ok(()) } else { Err(Forbidden::NeedsWrite) }
}

/// The token allows deleting.
pub fn may_delete(caller: &Caller) -> Result<(), Forbidden> {
    if caller.permissions.delete { Ok(()) } else { Err(Forbidden::NeedsDelete) }
}

/// The caller sees and manages everything: a CLIENT token, or an ADMIN's.
pub fn require_privileged(caller: &Caller) -> Result<(), Forbidden> {
    if caller.is_privileged() { Ok(()) } else { Err(Forbidden::ClientOnly) }
}

/// The caller holds a CLIENT token.
pub fn is_client(caller: &Caller) -> Result<(), Forbidden> {
    if caller.token_type == TokenType::Client { Ok(()) } else { Err(Forbidden::ClientOnly) }
}

/// The caller may grant rights and see who holds them: it is privileged, and its token is unrestricted. Without the second
/// condition a restricted ADMIN token could mint an unrestricted one for itself.
pub fn may_grant_rights(caller: &Caller) -> Result<(), Forbidden> {
    require_privileged(caller)?;
    if caller.permissions.is_all() { Ok(()) } else { Err(Forbidden::NeedsUnrestricted) }
}

/// The caller may disable a user. A user in whose name a CLIENT token acts can be disabled only by a CLIENT token, because the
/// application's backend would lose its access.
pub fn may_disable(caller: &Caller, has_client_token: bool) -> Result<(), Forbidden> {
    if has_client_token && caller.token_type != TokenType::Client { Err(Forbidden::BehindClientToken) } else { Ok(()) }
}

/// The user in whose name the caller acts: its own, or with a CLIENT token any user.
pub fn acting_user(caller: &Caller, named: Option<UserId>) -> Result<UserId, Forbidden> {
    match named {
        None => Ok(caller.user.id),
        Some(user) if caller.is(user) || caller.may_name_others() => Ok(user),
        Some(_) => Err(Forbidden::NotYourself),
    }
}

/// The caller that a CLIENT token becomes when it acts as this user: a USER of the user's role, within the token's permissions.
/// `user` is `None` if the user does not exist. A disabled user counts as absent.
pub fn acting_caller(caller: &Caller, user: Option<&User>) -> Result<Caller, Error> {
    is_client(caller)?;
    let user = user.filter(|user| !user.disabled).ok_or(Error::NotFound(NotFound::User))?;
    let (token_type, operator, acting) = (TokenType::User, false, true);
    Ok(Caller { token_type, user: UserRef::from(user), role: user.role, operator, acting, ..caller.clone() })
}

/// The caller's access to a room, for reads and posts.
pub fn room_access(caller: &Caller, room: RoomId) -> Result<Access, Forbidden> {
    if !caller.permissions.covers_room(room) {
        return Err(Forbidden::NotAMember);
    }
    Ok(if caller.is_privileged() { Access::Any } else { Access::Member(caller.user.id) })
}

/// This access allows reading a room and posting to it: [`Access::Any`] for every existing room, [`Access::Member`] for rooms
/// of which the user is a member. `member` is `None` if the room does not exist.
pub fn may_enter(access: Access, member: Option<bool>) -> Result<(), Error> {
    match (access, member) {
        (Access::Any, Some(_)) | (Access::Member(_), Some(true)) => Ok(()),
        (Access::Any, None) => Err(Error::NotFound(NotFound::Room)),
        (Access::Member(_), _) => Err(Forbidden::NotAMember.into()),
    }
}

/// The caller may post to the room as this author. Returns the access of the post.
pub fn may_append(caller: &Caller, author: UserId, room: RoomId) -> Result<Access, Forbidden> {
    may_write(caller)?;
    acting_user(caller, Some(author))?;
    room_access(caller, room)
}

/// The caller's token allows editing messages in the room; [`may_edit_of`] then judges the message's author. Returns the access
/// with which the message is found.
pub fn may_edit(caller: &Caller, room: RoomId) -> Result<Access, Forbidden> {
    may_write(caller)?;
    room_access(caller, room)
}

/// The caller may edit this author's message: it is the author, or has a CLIENT token.
pub fn may_edit_of(caller: &Caller, author: UserId) -> Result<(), Forbidden> {
    if caller.is(author) || caller.may_name_others() { Ok(()) } else { Err(Forbidden::NotTheAuthor) }
}

/// The caller may see the earlier versions of this author's message: it is the author, or manages the room's members.
pub fn may_see_versions(caller: &Caller, author: UserId, relation: Option<RoomRelation>) -> Result<(), Error> {
    may_read(caller)?;
    if caller.is(author) { Ok(()) } else { stewards(caller, relation) }
}

/// The caller may delete this author's message in a room that it may enter: it is the author, or manages the room's members.
/// `relation` is not needed for privileged callers.
pub fn may_delete_message(caller: &Caller, author: UserId, relation: Option<RoomRelation>) -> Result<(), Error> {
    may_delete(caller)?;
    if caller.is(author) { Ok(()) } else { moderators(caller, relation) }
}

/// The caller may delete messages for good.
pub fn may_remove_messages(caller: &Caller) -> Result<(), Forbidden> {
    may_delete(caller)?;
    require_privileged(caller)
}

/// The caller's token allows pinning messages in the room; [`may_pin_in`] then judges its relation to the room. Returns the
/// access with which the message is found.
pub fn may_pin(caller: &Caller, room: RoomId) -> Result<Access, Forbidden> {
    may_write(caller)?;
    room_access(caller, room)
}

/// The caller may pin and unpin messages in a room that it may enter. `relation` is not needed for privileged callers.
pub fn may_pin_in(caller: &Caller, relation: Option<RoomRelation>) -> Result<(), Error> {
    may_write(caller)?;
    moderators(caller, relation)
}

/// The caller may erase the contents of earlier versions of this author's message.
pub fn may_forget_versions(caller: &Caller, author: UserId) -> Result<(), Forbidden> {
    may_delete(caller)?;
    may_edit_of(caller, author)
}

/// The access with which a message is appended: the access with which it was accepted, less the rights that its actor has lost
/// since. `state` is the state of the actor's token, if that token exists, and `user` the user as whom it acts, if it does and
/// the user exists.
pub fn append_access(message: &NewMessage, state: Option<&TokenState>, user: Option<&User>) -> Result<Access, Error> {
    if message.actor == Actor::Operator {
        return Ok(message.access);
    }
    let caller = state.ok_or(TokenRefusal::Invalid)?.judge(message.at)?;
    let access = match message.actor.user() {
        None => may_append(caller, message.author, message.room_id)?,
        Some(_) => may_append(&acting_caller(caller, user)?, message.author, message.room_id)?,
    };
    Ok(message.access.within(access))
}

/// The caller may make users.
pub fn may_create_user(caller: &Caller) -> Result<(), Forbidden> {
    may_write(caller)?;
    may_grant_rights(caller)
}

/// The caller may create, find and change users by an application's own ids. `mints_for_found` says that the call mints a token
/// for an existing user, which needs a CLIENT token.
pub fn may_put_user(caller: &Caller, mints_for_found: bool) -> Result<(), Forbidden> {
    may_create_user(caller)?;
    if mints_for_found { is_client(caller) } else { Ok(()) }
}

/// The caller may make this change: a new name for its own user, or any change if it may grant rights.
pub fn may_change_user(caller: &Caller, change: &UserChange) -> Result<(), Forbidden> {
    may_write(caller)?;
    let only_named = change.username.is_some() && change.role.is_none() && change.disabled.is_none();
    if only_named && caller.is(change.user_id) { Ok(()) } else { may_grant_rights(caller) }
}

/// The caller may make rooms that belong to this user.
pub fn may_create_room(caller: &Caller, owner: UserId) -> Result<(), Forbidden> {
    may_write(caller)?;
    if caller.permissions.rooms.is_some() {
        return Err(Forbidden::NeedsUnrestricted);
    }
    acting_user(caller, Some(owner)).map(drop)
}

/// The caller may mint this token. A CLIENT token mints tokens for any user. A USER token mints for its own user only, with at
/// most its own rights and lifetime, and as its child.
pub fn may_mint(caller: &Caller, token: &Token) -> Result<(), Forbidden> {
    if token.token_type == TokenType::Client {
        return is_client(caller);
    }
    may_write(caller)?;
    acting_user(caller, Some(token.user_id))?;
    let within = token.permissions.is_within(&caller.permissions)
        && token.expires_at <= caller.expires_at
        && token.parent == Some(caller.token_id);
    if within || caller.token_type == TokenType::Client { Ok(()) } else { Err(Forbidden::MoreRights) }
}

/// A repeated minting call may return the token of the first call only to the token that made the first call, `minted_by`. A
/// sibling may have fewer rights, and would keep the minted token when the first is revoked.
pub fn may_be_handed(actor: Actor, minted_by: Option<TokenId>) -> Result<(), Forbidden> {
    match actor.token() {
        Some(token) if minted_by != Some(token) => Err(Forbidden::MoreRights),
        _ => Ok(()),
    }
}

/// The caller may revoke this token; `token` is `None` if it does not exist. `descends` says that the caller's token minted it,
/// directly or through others. Any token may revoke itself. A restricted token may otherwise revoke only tokens that it minted.
/// Who acts as a user may revoke what that user may, and not the token by which it acts.
pub fn may_revoke(caller: &Caller, token: Option<&Token>, descends: bool) -> Result<(), Error> {
    if revokes_itself(caller, token.map(|token| token.id)) {
        return Ok(());
    }
    may_delete(caller)?;
    let descends = descends && !caller.acting;
    let allowed = token.is_some_and(|token| {
        let user_token = token.token_type == TokenType::User;
        let of_reach = user_token && (caller.is(token.user_id) || caller.is_privileged());
        descends || (caller.permissions.is_all() && (of_reach || caller.token_type == TokenType::Client))
    });
    if allowed { Ok(()) } else { Err(no_such_token(caller)) }
}

/// Whether this is the caller's own token.
pub fn revokes_itself(caller: &Caller, token: Option<TokenId>) -> bool {
    !caller.acting && token == Some(caller.token_id)
}

/// The error for a token that the caller may not revoke. Only the privileged learn whether it exists.
pub fn no_such_token(caller: &Caller) -> Error {
    if !caller.permissions.is_all() {
        return Forbidden::NeedsUnrestricted.into();
    }
    if caller.is_privileged() { Error::NotFound(NotFound::Token) } else { Forbidden::ClientOnly.into() }
}

/// The error for a room's id that is not a UUID. A USER gets the same error as for a room of which it is not a member.
pub fn no_such_room(caller: &Caller) -> Error {
    if caller.is_privileged() && caller.permissions.rooms.is_none() {
        Error::NotFound(NotFound::Room)
    } else {
        Forbidden::NotAMember.into()
    }
}

/// The caller's token allows adding members to the room, whatever the user's relation to it.
pub fn token_adds_members(caller: &Caller, room: RoomId) -> Result<(), Forbidden> {
    may_write(caller)?;
    covers(caller, room)
}

/// The caller's token allows removing this user from the room: `write` to leave, `delete` to remove others.
pub fn token_removes_member(caller: &Caller, room: RoomId, user: UserId) -> Result<(), Forbidden> {
    if caller.is(user) {
        may_write(caller)?
    } else {
        may_delete(caller)?
    }
    covers(caller, room)
}

fn covers(caller: &Caller, room: RoomId) -> Result<(), Forbidden> {
    if caller.permissions.covers_room(room) { Ok(()) } else { Err(Forbidden::NotAMember) }
}

/// The caller may add members to the room.
pub fn may_add_members(caller: &Caller, room: RoomId, relation: Option<RoomRelation>) -> Result<(), Error> {
    token_adds_members(caller, room)?;
    stewards(caller, relation)
}

/// The caller may remove this member from the room.
pub fn may_remove_member(caller: &Caller, room: RoomId, relation: Option<RoomRelation>, user: UserId) -> Result<(), Error> {
    token_removes_member(caller, room, user)?;
    if !caller.is_privileged() && caller.is(user) {
        return match relation {
            Some(relation) if relation.member => Ok(()),
            _ => Err(Forbidden::NotAMember.into()),
        };
    }
    stewards(caller, relation)?;
    match relation {
        Some(relation) if relation.owner == user && !caller.is_privileged() => Err(Forbidden::OwnerStays.into()),
        _ => Ok(()),
    }
}

/// The caller moderates a room that it may enter.
fn moderators(caller: &Caller, relation: Option<RoomRelation>) -> Result<(), Error> {
    if caller.is_privileged() { Ok(()) } else { stewards(caller, relation) }
}

/// The caller manages the room's members: the privileged in every room, its owner and MODERATORs while they are members.
fn stewards(caller: &Caller, relation: Option<RoomRelation>) -> Result<(), Error> {
    if caller.is_privileged() {
        return relation.map(|_| ()).ok_or(Error::NotFound(NotFound::Room));
    }
    match relation {
        // An owner who left or was removed has no rights in the room.
        Some(relation) if relation.member && caller.is(relation.owner) => Ok(()),
        Some(relation) if relation.member && caller.role == Role::Moderator => Ok(()),
        Some(relation) if relation.member => Err(Forbidden::NotAModerator.into()),
        _ => Err(Forbidden::NotAMember.into()),
    }
}

/// The caller may see all data of this user: it is that user, or privileged.
pub fn may_see_user(caller: &Caller, user: UserId) -> Result<(), Forbidden> {
    if caller.is(user) || caller.is_privileged() { Ok(()) } else { Err(Forbidden::ClientOnly) }
}
