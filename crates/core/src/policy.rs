//! Who may do what. Every rule about rights stands here, and nowhere else makes a [`Forbidden`].
//!
//! An op asks early what can be told from memory, so that most of what is not allowed is refused at once; the store asks again
//! within the commit, with the caller and the facts as they are then, and that answer counts.

use crate::caller::{Caller, TokenState};
use crate::error::{Error, Forbidden, NotFound, TokenRefusal};
use crate::ids::{RoomId, TokenId, UserId};
use crate::model::Role;
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

/// The caller may hand out rights, and see who holds them: privileged, and by a token that is not itself restricted. Without
/// the second rule a restricted ADMIN token could make itself an unrestricted one.
pub fn may_grant_rights(caller: &Caller) -> Result<(), Forbidden> {
    require_privileged(caller)?;
    if caller.permissions.is_all() { Ok(()) } else { Err(Forbidden::NeedsUnrestricted) }
}

/// The caller may disable a user. With one in whose name an application's backend acts that backend would be out, and it is
/// not for a person to turn it off.
pub fn may_disable(caller: &Caller, has_client_token: bool) -> Result<(), Forbidden> {
    if has_client_token && caller.token_type != TokenType::Client { Err(Forbidden::BehindClientToken) } else { Ok(()) }
}

/// In whose name the caller acts: its own, or for CLIENT tokens any user's.
pub fn acting_user(caller: &Caller, named: Option<UserId>) -> Result<UserId, Forbidden> {
    match named {
        None => Ok(caller.user.id),
        Some(user) if caller.is(user) || caller.may_name_others() => Ok(user),
        Some(_) => Err(Forbidden::NotYourself),
    }
}

/// With which eyes the caller reads a room, or posts to it.
pub fn room_access(caller: &Caller, room: RoomId) -> Result<Access, Forbidden> {
    if !caller.permissions.covers_room(room) {
        return Err(Forbidden::NotAMember);
    }
    Ok(if caller.is_privileged() { Access::Any } else { Access::Member(caller.user.id) })
}

/// Whoever has these eyes may look into a room, or post to it: any that there is, or those that the user is a member of.
/// `member` tells of an existing room whether it is.
pub fn may_enter(access: Access, member: Option<bool>) -> Result<(), Error> {
    match (access, member) {
        (Access::Any, Some(_)) | (Access::Member(_), Some(true)) => Ok(()),
        (Access::Any, None) => Err(Error::NotFound(NotFound::Room)),
        (Access::Member(_), _) => Err(Forbidden::NotAMember.into()),
    }
}

/// The caller may post to the room as this author: with which eyes.
pub fn may_append(caller: &Caller, author: UserId, room: RoomId) -> Result<Access, Forbidden> {
    may_write(caller)?;
    acting_user(caller, Some(author))?;
    room_access(caller, room)
}

/// The caller may change messages in the room, if they are its own: with which eyes it finds them.
pub fn may_edit(caller: &Caller, room: RoomId) -> Result<Access, Forbidden> {
    may_write(caller)?;
    room_access(caller, room)
}

/// The caller may change this author's message: its own, or anybody's by a CLIENT token.
pub fn may_edit_of(caller: &Caller, author: UserId) -> Result<(), Forbidden> {
    if caller.is(author) || caller.may_name_others() { Ok(()) } else { Err(Forbidden::NotTheAuthor) }
}

/// The caller may see the earlier versions of this author's message: it itself, and who decides who is in the room.
pub fn may_see_versions(caller: &Caller, author: UserId, relation: Option<RoomRelation>) -> Result<(), Error> {
    may_read(caller)?;
    if caller.is(author) { Ok(()) } else { stewards(caller, relation) }
}

/// The caller may forget what earlier versions of this author's message said.
pub fn may_forget_versions(caller: &Caller, author: UserId) -> Result<(), Forbidden> {
    may_delete(caller)?;
    may_edit_of(caller, author)
}

/// With which eyes a message is appended: those with which it was accepted, less what its actor has lost since. `state` is
/// that of the actor's token, if there is such a token.
pub fn append_access(message: &NewMessage, state: Option<&TokenState>) -> Result<Access, Error> {
    if message.actor == Actor::Operator {
        return Ok(message.access);
    }
    let caller = state.ok_or(TokenRefusal::Invalid)?.judge(message.at)?;
    Ok(message.access.within(may_append(caller, message.author, message.room_id)?))
}

/// The caller may make users.
pub fn may_create_user(caller: &Caller) -> Result<(), Forbidden> {
    may_write(caller)?;
    may_grant_rights(caller)
}

/// The caller may make users, or find and change them, by an application's own ids. `mints_for_found`: with a token for a user
/// that is there already, which takes the right to act in anyone's name.
pub fn may_put_user(caller: &Caller, mints_for_found: bool) -> Result<(), Forbidden> {
    may_create_user(caller)?;
    if mints_for_found { is_client(caller) } else { Ok(()) }
}

/// The caller may make this change: a new name for itself, anything else for those who hand out rights.
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

/// The caller may mint this token: a USER token for anyone by a CLIENT token; by another for its own user, with no more rights
/// than its own, no longer life, and dying with it.
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

/// Whoever sends a minting call again may be handed the token of the first: it alone, `minted_by`. A sibling of it may have
/// fewer rights, and would keep the token when the first is revoked.
pub fn may_be_handed(actor: Actor, minted_by: Option<TokenId>) -> Result<(), Forbidden> {
    match actor {
        Actor::Token(token) if minted_by != Some(token) => Err(Forbidden::MoreRights),
        _ => Ok(()),
    }
}

/// The caller may revoke this token, if there is one of the id that it named; `descends` tells whether the caller's token
/// minted it, itself or through others. Any token may give itself up; a restricted one may otherwise take back what it minted
/// alone.
pub fn may_revoke(caller: &Caller, token: Option<&Token>, descends: bool) -> Result<(), Error> {
    if token.is_some_and(|token| token.id == caller.token_id) {
        return Ok(());
    }
    may_delete(caller)?;
    let allowed = token.is_some_and(|token| {
        let user_token = token.token_type == TokenType::User;
        let of_reach = user_token && (caller.is(token.user_id) || caller.is_privileged());
        descends || (caller.permissions.is_all() && (of_reach || caller.token_type == TokenType::Client))
    });
    if allowed { Ok(()) } else { Err(no_such_token(caller)) }
}

/// What a token that the caller may not revoke is to it: whether it exists is told only to the privileged.
pub fn no_such_token(caller: &Caller) -> Error {
    if !caller.permissions.is_all() {
        return Forbidden::NeedsUnrestricted.into();
    }
    if caller.is_privileged() { Error::NotFound(NotFound::Token) } else { Forbidden::ClientOnly.into() }
}

/// What an id that is no UUID is to this caller: to a USER the same as a room that is not theirs.
pub fn no_such_room(caller: &Caller) -> Error {
    if caller.is_privileged() && caller.permissions.rooms.is_none() {
        Error::NotFound(NotFound::Room)
    } else {
        Forbidden::NotAMember.into()
    }
}

/// The caller's token allows adding members to the room, whatever its user is there.
pub fn token_adds_members(caller: &Caller, room: RoomId) -> Result<(), Forbidden> {
    may_write(caller)?;
    covers(caller, room)
}

/// The caller's token allows removing this user from the room: `write` to leave oneself, `delete` for others.
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
pub fn may_add_members(caller: &Caller, room: RoomId, standing: Option<RoomRelation>) -> Result<(), Error> {
    token_adds_members(caller, room)?;
    stewards(caller, standing)
}

/// The caller may remove this member from the room.
pub fn may_remove_member(caller: &Caller, room: RoomId, standing: Option<RoomRelation>, user: UserId) -> Result<(), Error> {
    token_removes_member(caller, room, user)?;
    if !caller.is_privileged() && caller.is(user) {
        return match standing {
            Some(standing) if standing.member => Ok(()),
            _ => Err(Forbidden::NotAMember.into()),
        };
    }
    stewards(caller, standing)?;
    match standing {
        Some(standing) if standing.owner == user && !caller.is_privileged() => Err(Forbidden::OwnerStays.into()),
        _ => Ok(()),
    }
}

/// The caller decides who is in the room: the privileged everywhere, its owner and MODERATORs while they are members.
fn stewards(caller: &Caller, standing: Option<RoomRelation>) -> Result<(), Error> {
    if caller.is_privileged() {
        return standing.map(|_| ()).ok_or(Error::NotFound(NotFound::Room));
    }
    match standing {
        // An owner who was removed, or left, has nothing to say here any more.
        Some(standing) if standing.member && caller.is(standing.owner) => Ok(()),
        Some(standing) if standing.member && caller.role == Role::Moderator => Ok(()),
        Some(standing) if standing.member => Err(Forbidden::NotAModerator.into()),
        _ => Err(Forbidden::NotAMember.into()),
    }
}

/// The caller may see everything of this user: itself, or a privileged one.
pub fn may_see_user(caller: &Caller, user: UserId) -> Result<(), Forbidden> {
    if caller.is(user) || caller.is_privileged() { Ok(()) } else { Err(Forbidden::ClientOnly) }
}
