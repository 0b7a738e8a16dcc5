//! Compares the estimated JSON sizes, by which pages are split, with the real sizes.

use chatsphere_core::event::largest_event;
use chatsphere_core::{
    ClientMessageId, Content, Email, EncodedLen, EventKind, EventRow, ExternalId, Limits, MessageChangeKind, MessageId,
    Permissions, Role, RoomId, RoomName, Seq, Timestamp, TokenId, TokenType, TokenWithUser, UserId, Username,
};
use serde::Serialize;

use super::{core, message_in_room, message_version, user_ref};

const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

fn user(name: &str) -> core::User {
    core::User {
        id: UserId::new(NOW),
        username: Username::from_stored(name.to_owned()),
        role: Role::Moderator,
        disabled: false,
        external_id: Some(ExternalId::from_stored("backend-1".to_owned())),
        created_at: NOW,
        updated_at: NOW,
    }
}

fn message(name: &str, content: &str) -> core::Message {
    core::Message {
        id: MessageId::new(NOW),
        room_id: RoomId::new(NOW),
        author: core::UserRef::from(&user(name)),
        seq: Seq::MAX,
        content: Content::from_stored(content.to_owned()),
        client_message_id: Some(ClientMessageId::from_stored("\"".repeat(64))),
        created_at: NOW,
        updated_at: NOW,
        details: None,
    }
}

/// The same message with the longest change there is.
fn changed(message: &core::Message) -> core::Message {
    let details = core::MessageDetails {
        content_seq: Seq::MAX,
        version: core::Version::new(u32::MAX),
        edited_at: Some(NOW),
        edited_by: Some(message.author.id),
        deleted_at: Some(NOW),
        deleted_by: Some(message.author.id),
        pinned_at: Some(NOW),
        pinned_by: Some(message.author.id),
        removed: false,
    };
    core::Message { details: Some(Box::new(details)), ..message.clone() }
}

fn json(item: &impl Serialize) -> usize {
    serde_json::to_vec(item).unwrap().len()
}

/// Checks that the estimate is at least the size of each form, and not much more than the longest.
#[track_caller]
fn check(measured: usize, forms: &[usize]) {
    let longest = *forms.iter().max().unwrap();
    assert!(measured >= longest, "{measured} is less than {longest}");
    assert!(measured <= longest + 512, "{measured} is far more than {longest}");
}

#[test]
fn every_form_of_an_item_has_its_measure() {
    for text in ["x", "\u{1}", "\"", "\\", "\n", "\u{7f}", "ä", "😀"] {
        let (name, content) = (text.repeat(64), text.repeat(5_000));
        let message = message(&name, &content);
        let event = |kind| core::Event { room_id: message.room_id, seq: Seq::MAX, at: NOW, kind };
        let posted = event(EventKind::Message(message.clone()));
        check(message.encoded_len(), &[json(&super::message(&message))]);
        check(posted.encoded_len(), &[json(&super::event(&posted)), json(&posted)]);
        let (user, by) = (message.author.clone(), message.author.clone());
        let joined = event(EventKind::MemberJoined { user: user.clone(), by: by.clone() });
        let left = event(EventKind::MemberLeft { user: user.clone(), by: by.clone() });
        for event in [joined, left] {
            check(event.encoded_len(), &[json(&super::event(&event)), json(&event)]);
        }
        let changed = changed(&message);
        check(changed.encoded_len(), &[json(&super::message(&changed))]);
        let superseded = core::EventMessage::Superseded(changed.key());
        for about in [core::EventMessage::Shown(Box::new(changed)), superseded] {
            let edited = event(EventKind::MessageChanged { how: MessageChangeKind::Edited, message: about, by: user.clone() });
            check(edited.encoded_len(), &[json(&super::event(&edited)), json(&edited)]);
        }
        let version = core::MessageVersion {
            version: core::Version::new(u32::MAX),
            content: Some(message.content.clone()),
            at: NOW,
            by: user.clone(),
        };
        check(version.encoded_len(), &[json(&message_version(&version))]);
        let row = EventRow {
            user: user.clone(),
            by: by.clone(),
            message: Some(Box::new(message.clone())),
            body: Some(serde_json::json!({ "text": content }).to_string()),
        };
        let unknown = event(EventKind::from_row("of_a_newer_release", row));
        check(unknown.encoded_len(), &[json(&super::event(&unknown))]);
        let in_room = core::MessageInRoom {
            message: message.clone(),
            room_name: RoomName::from_stored(name.clone()),
            room_created_at: NOW,
            room_updated_at: NOW,
        };
        check(in_room.encoded_len(), &[json(&message_in_room(&in_room))]);
        check(user.encoded_len(), &[json(&user_ref(&user))]);
        let whole = self::user(&name);
        check(whole.encoded_len(), &[json(&super::user(whole.clone()))]);
        let room = core::Room {
            id: message.room_id,
            name: RoomName::from_stored(name.clone()),
            owner: user.id,
            created_at: NOW,
            updated_at: NOW,
            seq: Seq::MAX,
            message_count: u64::MAX,
            member_count: u64::MAX,
        };
        check(room.encoded_len(), &[json(&super::room(room.clone()))]);
        let token = core::Token {
            id: TokenId::new(NOW),
            token_type: TokenType::Client,
            user_id: user.id,
            permissions: Permissions { rooms: Some(vec![message.room_id; 1_000]), ..Permissions::ALL },
            parent: Some(TokenId::new(NOW)),
            email: Some(Email::from_stored(name.clone())),
            created_at: NOW,
            expires_at: NOW,
            revoked_at: Some(NOW),
        };
        let token = TokenWithUser { token, user: whole };
        let measured = token.encoded_len();
        check(measured, &[json(&super::token(token))]);
    }
}

#[test]
fn no_event_is_larger_than_the_largest() {
    // With long names, the names can take more bytes than the message.
    let long_names = Limits { username_chars: 1_000, message_bytes: 100, ..Limits::default() };
    for limits in [Limits::default(), long_names] {
        for (name, content) in [("😀", "\u{1}"), ("\"", "\""), ("ä", "\\")] {
            let name = name.repeat(limits.username_chars);
            let content = content.repeat(limits.message_bytes / content.len());
            let message = message(&name, &content);
            let (user, by) = (message.author.clone(), message.author.clone());
            for kind in [EventKind::Message(message), EventKind::MemberJoined { user, by }] {
                let event = core::Event { room_id: RoomId::new(NOW), seq: Seq::MAX, at: NOW, kind };
                assert!(event.encoded_len() <= largest_event(&limits));
                assert!(event.text_len() <= event.encoded_len());
            }
        }
    }
}
