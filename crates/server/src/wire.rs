//! Converts values of `core` to the wire types of `protocol`, for REST and the command line.

use std::borrow::Cow;

use chatsphere_core::{self as core, Limits};
use chatsphere_protocol::Open;
use chatsphere_protocol::frames::HelloLimits;
use chatsphere_protocol::rest::{Count, MessageInRoom, MessageVersion, Permissions, Profile, Room, RoomRef, Token, User};
use chatsphere_realtime::largest_frame;

pub(crate) use chatsphere_realtime::wire::{deleted_message, event, message, user_ref};

/// A message with its room.
pub(crate) fn message_in_room(item: &core::MessageInRoom) -> MessageInRoom<'_> {
    MessageInRoom {
        message: message(&item.message),
        room: RoomRef {
            id: item.message.room_id,
            name: Cow::Borrowed(item.room_name.as_str()),
            created_at: item.room_created_at,
            updated_at: item.room_updated_at,
        },
    }
}

/// A version of a message.
pub(crate) fn message_version(version: &core::MessageVersion) -> MessageVersion<'_> {
    MessageVersion {
        version: version.version,
        content: version.content.as_ref().map(|content| Cow::Borrowed(content.as_str())),
        created_at: version.at,
        by: user_ref(&version.by),
    }
}

/// A room.
pub(crate) fn room(room: core::Room) -> Room {
    Room {
        id: room.id,
        name: room.name.as_str().to_owned(),
        created_at: room.created_at,
        updated_at: room.updated_at,
        seq: room.seq,
        count: Some(Count { messages: room.message_count, users: room.member_count }),
    }
}

/// A user.
pub(crate) fn user(user: core::User) -> User<'static> {
    User {
        id: user.id,
        username: Cow::Owned(user.username.as_str().to_owned()),
        role: Open::Known(user.role),
        disabled: user.disabled,
        external_id: user.external_id.map(|id| Cow::Owned(id.as_str().to_owned())),
        created_at: user.created_at,
        updated_at: user.updated_at,
    }
}

/// A user's own profile.
pub(crate) fn profile(user: &core::User) -> Profile<'static> {
    Profile { id: user.id, username: Cow::Owned(user.username.as_str().to_owned()), role: Open::Known(user.role) }
}

/// A token's metadata.
pub(crate) fn token(core::TokenWithUser { token, user }: core::TokenWithUser) -> Token {
    let core::Permissions { read, write, delete, rooms } = token.permissions;
    Token {
        id: token.id,
        token_type: Open::Known(token.token_type),
        user_id: token.user_id,
        user: user_ref(&core::UserRef::from(&user)).into_owned(),
        permissions: Permissions { read, write, delete, rooms },
        parent_id: token.parent,
        email: token.email.map(|email| email.as_str().to_owned()),
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

/// The permissions of a new token.
pub(crate) fn permissions(Permissions { read, write, delete, rooms }: Permissions) -> core::Permissions {
    core::Permissions { read, write, delete, rooms }
}

/// The limits announced to a WebSocket client.
pub(crate) fn hello_limits(limits: &Limits) -> HelloLimits {
    let frames = limits.frame_rate();
    HelloLimits {
        message_bytes: limits.message_bytes,
        message_versions: limits.message_versions,
        username_chars: limits.username_chars,
        room_name_chars: limits.room_name_chars,
        ref_bytes: limits.ref_bytes,
        client_message_id_bytes: limits.client_message_id_bytes,
        frame_bytes: limits.frame_bytes,
        rooms_per_connection: limits.rooms_per_connection,
        connections_per_user: limits.connections_per_user,
        outbound_queue_bytes: limits.outbound_queue_bytes,
        messages_per_second: limits.messages_per_second,
        message_burst: limits.message_burst,
        unanswered_sends: limits.unanswered_sends,
        replay_events: limits.replay_events,
        largest_frame_bytes: largest_frame(limits),
        frames_per_second: frames.per_second,
        frame_burst: frames.burst,
        pins_per_room: limits.pins_per_room,
    }
}

#[cfg(test)]
mod tests;
