//! Who may do what. Every rule about rights stands here, and nowhere else.

use crate::caller::Caller;
use crate::error::{Absent, Denial, Error};
use crate::ids::{RoomId, UserId};
use crate::model::Role;
use crate::store::{Access, Standing};
use crate::token::TokenType;

/// The token allows reading.
pub fn may_read(caller: &Caller) -> Result<(), Denial> {
    if caller.permissions.read { Ok(()) } else { Err(Denial::NeedsRead) }
}

/// The token allows writing.
pub fn may_write(caller: &Caller) -> Result<(), Denial> {
    if caller.permissions.write { Ok(()) } else { Err(Denial::NeedsWrite) }
}

/// The token allows deleting.
pub fn may_delete(caller: &Caller) -> Result<(), Denial> {
    if caller.permissions.delete { Ok(()) } else { Err(Denial::NeedsDelete) }
}

/// The caller sees and manages everything: a CLIENT token, or an ADMIN's.
pub fn is_privileged(caller: &Caller) -> Result<(), Denial> {
    if caller.is_privileged() { Ok(()) } else { Err(Denial::ClientOnly) }
}

/// The caller holds a CLIENT token.
pub fn is_client(caller: &Caller) -> Result<(), Denial> {
    if caller.token_type == TokenType::Client { Ok(()) } else { Err(Denial::ClientOnly) }
}

/// The caller may hand out rights, and see who holds them: privileged, and by a token that is not itself restricted. Without
/// the second rule a restricted ADMIN token could make itself an unrestricted one.
pub fn may_grant_rights(caller: &Caller) -> Result<(), Denial> {
    is_privileged(caller)?;
    if caller.permissions.is_all() { Ok(()) } else { Err(Denial::NeedsUnrestricted) }
}

/// The caller may disable a user. With one in whose name an application's backend acts that backend would be out, and it is
/// not for a person to turn it off.
pub fn may_disable(caller: &Caller, has_client_token: bool) -> Result<(), Denial> {
    if has_client_token && caller.token_type != TokenType::Client { Err(Denial::BehindClientToken) } else { Ok(()) }
}

/// In whose name the caller acts: its own, or for CLIENT tokens any user's.
pub fn acting_user(caller: &Caller, named: Option<UserId>) -> Result<UserId, Denial> {
    match named {
        None => Ok(caller.user.id),
        Some(user) if caller.is(user) || caller.may_name_others() => Ok(user),
        Some(_) => Err(Denial::NotYourself),
    }
}

/// With which eyes the caller reads a room, or posts to it.
pub fn room_access(caller: &Caller, room: RoomId) -> Result<Access, Denial> {
    if !caller.permissions.covers_room(room) {
        return Err(Denial::NotAMember);
    }
    Ok(if caller.is_privileged() { Access::Any } else { Access::Member(caller.user.id) })
}

/// What an id that is no UUID is to this caller: to a USER the same as a room that is not theirs.
pub fn no_such_room(caller: &Caller) -> Error {
    if caller.is_privileged() && caller.permissions.rooms.is_none() {
        Error::Absent(Absent::Room)
    } else {
        Denial::NotAMember.into()
    }
}

/// The caller may add members to the room.
pub fn may_add_members(caller: &Caller, standing: Option<Standing>) -> Result<(), Error> {
    if caller.is_privileged() {
        return standing.map(|_| ()).ok_or(Error::Absent(Absent::Room));
    }
    match standing {
        // An owner who was removed, or left, has nothing to say here any more.
        Some(standing) if standing.member && caller.is(standing.owner) => Ok(()),
        Some(standing) if standing.member && caller.role == Role::Moderator => Ok(()),
        Some(standing) if standing.member => Err(Denial::NotAModerator.into()),
        _ => Err(Denial::NotAMember.into()),
    }
}

/// The caller may remove this member from the room.
pub fn may_remove_member(caller: &Caller, standing: Option<Standing>, user: UserId) -> Result<(), Error> {
    if !caller.is_privileged() && caller.is(user) {
        return match standing {
            Some(standing) if standing.member => Ok(()),
            _ => Err(Denial::NotAMember.into()),
        };
    }
    may_add_members(caller, standing)?;
    match standing {
        Some(standing) if standing.owner == user && !caller.is_privileged() => Err(Denial::OwnerStays.into()),
        _ => Ok(()),
    }
}

/// The caller may see everything of this user: itself, or a privileged one.
pub fn may_see_user(caller: &Caller, user: UserId) -> Result<(), Denial> {
    if caller.is(user) || caller.is_privileged() { Ok(()) } else { Err(Denial::ClientOnly) }
}
