//! The wire's forms of what `core` keeps. They borrow its texts.

use std::borrow::Cow;

use chatsphere_core::signal::TYPING_EXPIRES;
use chatsphere_core::{self as core, Event, EventKind, Signal, SignalKind};
use chatsphere_protocol::frames::{EventFrame, ServerFrame};
use chatsphere_protocol::rest::{Message, UserRef};

/// A durable event, as a frame, in a page or in a list.
pub fn event(event: &Event) -> EventFrame<'_> {
    let (room_id, seq, created_at) = (event.room_id, event.seq, event.at);
    match &event.kind {
        EventKind::Message(posted) => EventFrame::NewMessage { room_id, seq, message: message(posted) },
        EventKind::MemberJoined { user, by } => {
            EventFrame::MemberJoined { room_id, seq, user: user_ref(user), by: user_ref(by), created_at }
        }
        EventKind::MemberLeft { user, by } => {
            EventFrame::MemberLeft { room_id, seq, user: user_ref(user), by: user_ref(by), created_at }
        }
    }
}

/// The frame of a signal, the same for everyone who gets it. `None` for a kind that only newer versions know.
pub fn signal(signal: &Signal) -> Option<ServerFrame<'_>> {
    match &signal.kind {
        SignalKind::Typing { room_id, parent_id, on } => Some(ServerFrame::Typing {
            room_id: *room_id,
            user: user_ref(&signal.user),
            parent_id: *parent_id,
            expires_in_ms: if *on { u64::try_from(TYPING_EXPIRES.as_millis()).unwrap_or(u64::MAX) } else { 0 },
        }),
        SignalKind::Unknown => None,
    }
}

/// A message.
pub fn message(message: &core::Message) -> Message<'_> {
    Message {
        id: message.id,
        room_id: message.room_id,
        user_id: message.author.id,
        seq: message.seq,
        content: Cow::Borrowed(message.content.as_str()),
        created_at: message.created_at,
        updated_at: message.updated_at,
        client_message_id: message.client_message_id.as_ref().map(|id| Cow::Borrowed(id.as_str())),
        user: user_ref(&message.author),
    }
}

/// A user as others see it.
pub fn user_ref(user: &core::UserRef) -> UserRef<'_> {
    UserRef { id: user.id, username: Cow::Borrowed(user.username.as_str()) }
}
