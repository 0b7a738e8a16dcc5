//! Converts values of `core` to the wire types of `protocol`, borrowing their text.

use std::borrow::Cow;
use std::time::Duration;

use chatsphere_core::{
    self as core, Event, EventKind, EventMessage, EventRow, MessageChangeKind, MessageKey, Signal, SignalKind,
};
use chatsphere_protocol::frames::{self, AboutDeleted, AboutMessage, EventFrame, SignalFrame};
use chatsphere_protocol::json::RawJson;
use chatsphere_protocol::rest::{DeletedMessage, Message, RemovedMessage, UserRef};
use serde_json::{Map, Value, json};

/// A durable event, for frames, pages and lists.
pub fn event(event: &Event) -> EventFrame<'_> {
    let kind = match &event.kind {
        EventKind::Message(posted) => return message(posted).into(),
        EventKind::MemberJoined { user, by } => frames::EventKind::MemberJoined { user: user_ref(user), by: user_ref(by) },
        EventKind::MemberLeft { user, by } => frames::EventKind::MemberLeft { user: user_ref(user), by: user_ref(by) },
        EventKind::MessageChanged { how, message, by } => {
            let by = user_ref(by);
            match how {
                MessageChangeKind::Edited => frames::EventKind::MessageEdited { about: about(message), by },
                MessageChangeKind::Deleted => deleted(message, by),
                MessageChangeKind::Pinned => frames::EventKind::MessagePinned { about: about(message), by },
                MessageChangeKind::Unpinned => frames::EventKind::MessageUnpinned { about: about(message), by },
            }
        }
        EventKind::MessageRemoved { message_id } => frames::EventKind::MessageRemoved { message_id: *message_id },
        EventKind::Unknown { kind, row } => frames::EventKind::Unknown { kind: Cow::Borrowed(kind), body: body(row) },
    };
    EventFrame { room_id: event.room_id, seq: event.seq, created_at: Some(event.at), kind }
}

fn about(affected: &EventMessage) -> AboutMessage<'_> {
    let MessageKey { id, seq } = affected.key();
    let shown = if let EventMessage::Shown(shown) = affected { Some(message(shown)) } else { None };
    AboutMessage { message_id: id, message_seq: seq, superseded: shown.is_none(), message: shown }
}

fn deleted<'a>(affected: &'a EventMessage, by: UserRef<'a>) -> frames::EventKind<'a> {
    let MessageKey { id, seq } = affected.key();
    let shown = if let EventMessage::Shown(shown) = affected { Some(deleted_message(shown)) } else { None };
    let hard = matches!(shown, Some(DeletedMessage::Removed(_)));
    let about = AboutDeleted { message_id: id, message_seq: seq, superseded: shown.is_none(), message: shown };
    frames::EventKind::MessageDeleted { about, hard, by }
}

/// The fields of an event of an unknown kind: its stored body, its users, and its message.
fn body(row: &EventRow) -> Map<String, Value> {
    let body = row.body.as_deref().and_then(|body| serde_json::from_str(body).ok());
    let mut body: Map<String, Value> = body.unwrap_or_default();
    for own in ["type", "roomId", "seq", "createdAt"] {
        body.remove(own);
    }
    let user = |user: &core::UserRef| json!({ "id": user.id, "username": user.username });
    body.insert("user".to_owned(), user(&row.user));
    body.insert("by".to_owned(), user(&row.by));
    if let Some(message) = &row.message {
        body.insert("messageId".to_owned(), json!(message.id));
        body.insert("messageSeq".to_owned(), json!(message.seq));
    }
    body
}

/// The frame of a signal that holds for `left`, equal for all recipients. `None` for a kind that only newer versions know.
pub fn signal(signal: &Signal, left: Duration) -> Option<SignalFrame<'_>> {
    match &signal.kind {
        SignalKind::Typing { room_id, parent_id, on } => Some(SignalFrame::Typing {
            room_id: *room_id,
            user: user_ref(&signal.user),
            parent_id: *parent_id,
            expires_in_ms: if *on { u64::try_from(left.as_millis()).unwrap_or(u64::MAX) } else { 0 },
        }),
        SignalKind::Custom { room_id, name, data } => Some(SignalFrame::Signal {
            room_id: *room_id,
            user: user_ref(&signal.user),
            name: Cow::Borrowed(name.as_str()),
            data: RawJson::new(data.as_str()),
        }),
        SignalKind::Unknown => None,
    }
}

/// A message.
pub fn message(message: &core::Message) -> Message<'_> {
    let details = message.details.as_deref();
    Message {
        id: message.id,
        room_id: message.room_id,
        user_id: message.author.id,
        seq: message.seq,
        content: Cow::Borrowed(message.content.as_str()),
        created_at: message.created_at,
        updated_at: message.updated_at,
        client_message_id: message.client_message_id.as_ref().map(|id| Cow::Borrowed(id.as_str())),
        version: details.map(|details| details.version).filter(|version| *version > core::Version::FIRST),
        change_seq: Some(message.change_seq()).filter(|seq| *seq > message.seq),
        edited_at: details.and_then(|details| details.edited_at),
        edited_by: details.and_then(|details| details.edited_by),
        deleted_at: details.and_then(|details| details.deleted_at),
        deleted_by: details.and_then(|details| details.deleted_by),
        pinned_at: details.and_then(|details| details.pinned_at),
        pinned_by: details.and_then(|details| details.pinned_by),
        user: user_ref(&message.author),
    }
}

/// What is left of a deleted message.
pub fn deleted_message(deleted: &core::Message) -> DeletedMessage<'_> {
    match deleted.details.as_deref() {
        Some(core::MessageDetails { removed: true, deleted_at: Some(deleted_at), .. }) => {
            let (id, seq, change_seq) = (deleted.id, deleted.seq, deleted.change_seq());
            DeletedMessage::Removed(RemovedMessage { id, seq, change_seq, deleted_at: *deleted_at })
        }
        _ => DeletedMessage::Tombstone(Box::new(message(deleted))),
    }
}

/// A user as other users see it.
pub fn user_ref(user: &core::UserRef) -> UserRef<'_> {
    UserRef { id: user.id, username: Cow::Borrowed(user.username.as_str()) }
}
