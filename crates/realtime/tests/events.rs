//! The encoding of durable events, and the handling of events from a newer version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chatsphere_core as core;
use chatsphere_core::{
    ClientMessageId, Content, Event, EventMessage, EventRow, MessageChangeKind, Seq, Timestamp, UserRef, Username, Version,
};
use chatsphere_protocol::frames::{EventFrame, EventKind, PreviousMessages, ServerFrame};
use chatsphere_realtime::wire;
use serde_json::{Value, json};

const ROOM: &str = "0198c0de-7c1a-7000-8000-0123456789ab";
const ID: &str = "0198c0de-7c1a-7000-8000-0123456789ac";
const AT: Timestamp = Timestamp::from_millis(1_795_341_370_473);

fn ada() -> UserRef {
    UserRef { id: ID.parse().unwrap(), username: Username::from_stored("ada \"λ\"".to_owned()) }
}

fn event(kind: core::EventKind) -> Event {
    Event { room_id: ROOM.parse().unwrap(), seq: Seq::new(7), at: AT, kind }
}

fn message() -> core::Message {
    core::Message {
        id: ID.parse().unwrap(),
        room_id: ROOM.parse().unwrap(),
        author: ada(),
        seq: Seq::new(7),
        content: Content::from_stored("hello\n".to_owned()),
        client_message_id: Some(ClientMessageId::from_stored("m-1".to_owned())),
        created_at: AT,
        updated_at: AT,
        details: None,
    }
}

/// The same message after its second edit, by another user.
fn edited() -> Box<core::Message> {
    let details = core::MessageDetails {
        content_seq: Seq::new(9),
        version: Version::new(3),
        edited_at: Some(AT),
        edited_by: Some(ada().id),
        deleted_at: None,
        deleted_by: None,
        pinned_at: None,
        pinned_by: None,
        removed: false,
    };
    Box::new(core::Message { details: Some(Box::new(details)), ..message() })
}

/// The same message, not edited but pinned.
fn pinned() -> Box<core::Message> {
    let mut message = message();
    (message.details_mut().pinned_at, message.details_mut().pinned_by) = (Some(AT), Some(ada().id));
    Box::new(message)
}

/// The same message, deleted for good.
fn removed() -> Box<core::Message> {
    let mut message = message();
    (message.details_mut().deleted_at, message.details_mut().removed) = (Some(AT), true);
    Box::new(message)
}

fn unknown(body: Option<&str>) -> core::EventKind {
    let message = body.map(|_| Box::new(core::Message { seq: Seq::new(3), ..message() }));
    core::EventKind::from_row("poll_opened", EventRow { user: ada(), by: ada(), message, body: body.map(str::to_owned) })
}

fn text(event: &Event) -> String {
    serde_json::to_string(&wire::event(event)).unwrap()
}

#[test]
fn the_bytes_of_each_kind_are_fixed() {
    let user = format!(r#"{{"id":"{ID}","username":"ada \"λ\""}}"#);
    let at = "2026-11-22T09:56:10.473Z";
    let head = |kind: &str| format!(r#"{{"type":"{kind}","roomId":"{ROOM}","seq":7"#);
    let message = event(core::EventKind::Message(message()));
    // The fields of a message, before and after those of its change.
    let begin = format!(
        r#"{{"id":"{ID}","roomId":"{ROOM}","userId":"{ID}","seq":7,"content":"hello\n","createdAt":"{at}","updatedAt":"{at}""#
    );
    let begin = format!(r#"{begin},"clientMessageId":"m-1""#);
    let expected = format!(r#"{},"message":{begin},"user":{user}}}}}"#, head("new_message"));
    assert_eq!(text(&message), expected);
    let joined = event(core::EventKind::MemberJoined { user: ada(), by: ada() });
    let left = event(core::EventKind::MemberLeft { user: ada(), by: ada() });
    for (event, kind) in [(joined, "member_joined"), (left, "member_left")] {
        let expected = format!(r#"{},"user":{user},"by":{user},"createdAt":"{at}"}}"#, head(kind));
        assert_eq!(text(&event), expected);
        assert_eq!(serde_json::to_string(&ServerFrame::Event(wire::event(&event))).unwrap(), expected);
    }
    let about = format!(r#"{},"messageId":"{ID}","messageSeq":7"#, head("message_edited"));
    let end = format!(r#","by":{user},"createdAt":"{at}"}}"#);
    let change = format!(r#""version":3,"changeSeq":9,"editedAt":"{at}","editedBy":"{ID}""#);
    let shown = format!(r#","message":{begin},{change},"user":{user}}}"#);
    let superseded = r#","superseded":true"#;
    for (message, told) in [(EventMessage::Shown(edited()), &*shown), (EventMessage::Superseded(message_key()), superseded)] {
        let edited = event(core::EventKind::MessageChanged { how: MessageChangeKind::Edited, message, by: ada() });
        assert_eq!(text(&edited), format!("{about}{told}{end}"));
    }
}

#[test]
fn what_is_left_of_a_removed_message_is_its_number() {
    let by = format!(r#"{{"id":"{ID}","username":"ada \"λ\""}}"#);
    let head = |kind: &str| format!(r#"{{"type":"{kind}","roomId":"{ROOM}","seq":7"#);
    let at = "2026-11-22T09:56:10.473Z";
    let about =
        |how| event(core::EventKind::from_row(how, EventRow { user: ada(), by: ada(), message: Some(removed()), body: None }));
    let left = format!(r#""message":{{"id":"{ID}","seq":7,"changeSeq":7,"deletedAt":"{at}"}},"hard":true"#);
    let superseded = r#""superseded":true"#.to_owned();
    for (kind, told) in [("message_deleted", left), ("message_edited", superseded.clone()), ("message_pinned", superseded)] {
        let expected = format!(r#"{},"messageId":"{ID}","messageSeq":7,{told},"by":{by},"createdAt":"{at}"}}"#, head(kind));
        assert_eq!(text(&about(kind)), expected);
    }
    let expected = format!(r#"{},"messageId":"{ID}","createdAt":"{at}"}}"#, head("message_removed"));
    assert_eq!(text(&about("message_removed")), expected);
    // The same if an event that posted or changed the message is shown after the deletion.
    let mut posted = event(core::EventKind::Message(message()));
    posted.show(*removed());
    assert_eq!(text(&posted), expected);
    let shown = EventMessage::Shown(edited());
    let mut changed = event(core::EventKind::MessageChanged { how: MessageChangeKind::Edited, message: shown, by: ada() });
    changed.show(*removed());
    assert!(text(&changed).contains(r#""superseded":true"#) && !text(&changed).contains("hello"));
}

fn message_key() -> core::MessageKey {
    message().key()
}

#[test]
fn a_frame_is_read_as_it_was_written() {
    let kinds = [
        core::EventKind::Message(message()),
        core::EventKind::MemberJoined { user: ada(), by: ada() },
        core::EventKind::MemberLeft { user: ada(), by: ada() },
        core::EventKind::MessageChanged { how: MessageChangeKind::Edited, message: EventMessage::Shown(edited()), by: ada() },
        core::EventKind::MessageChanged {
            how: MessageChangeKind::Edited,
            message: EventMessage::Superseded(message_key()),
            by: ada(),
        },
        core::EventKind::MessageChanged { how: MessageChangeKind::Pinned, message: EventMessage::Shown(pinned()), by: ada() },
        core::EventKind::MessageChanged { how: MessageChangeKind::Unpinned, message: EventMessage::Shown(edited()), by: ada() },
        core::EventKind::MessageChanged { how: MessageChangeKind::Deleted, message: EventMessage::Shown(edited()), by: ada() },
        core::EventKind::MessageChanged { how: MessageChangeKind::Deleted, message: EventMessage::Shown(removed()), by: ada() },
        core::EventKind::MessageChanged {
            how: MessageChangeKind::Deleted,
            message: EventMessage::Superseded(message_key()),
            by: ada(),
        },
        core::EventKind::MessageRemoved { message_id: message_key().id },
        unknown(None),
        unknown(Some(r#"{"emoji":"👍","count":3}"#)),
    ];
    for event in kinds.map(event) {
        let frame = wire::event(&event);
        assert_eq!(frame.kind.name(), event.kind.name());
        assert_eq!(serde_json::from_str::<EventFrame<'static>>(&text(&event)).unwrap(), frame);
        // The order of the fields makes no difference.
        let value: Value = serde_json::to_value(&frame).unwrap();
        assert_eq!(serde_json::from_value::<EventFrame<'static>>(value).unwrap(), frame);
        let ServerFrame::Event(read) = serde_json::from_str(&text(&event)).unwrap() else { panic!("another frame") };
        assert_eq!(read, frame);
    }
}

#[test]
fn a_row_of_an_unknown_kind_passes_through() {
    let ada = json!({ "id": ID, "username": "ada \"λ\"" });
    let body = r#"{"emoji":"👍","seq":1,"roomId":"x","type":"y"}"#;
    let frame: Value = serde_json::from_str(&text(&event(unknown(Some(body))))).unwrap();
    let expected = json!({
        "type": "poll_opened", "roomId": ROOM, "seq": 7, "emoji": "👍", "messageId": ID, "messageSeq": 3,
        "user": ada, "by": ada, "createdAt": "2026-11-22T09:56:10.473Z",
    });
    assert_eq!(frame, expected);
    // An unreadable body leaves the other fields.
    let frame: Value = serde_json::from_str(&text(&event(unknown(Some("[]"))))).unwrap();
    assert_eq!((&frame["seq"], &frame["by"]), (&json!(7), &ada));
}

#[test]
fn a_page_with_unknown_events_is_read() {
    let known = json!({
        "type": "member_left", "roomId": ROOM, "seq": 1, "user": { "id": ID, "username": "ada" },
        "by": { "id": ID, "username": "ada" }, "createdAt": "2026-11-22T09:56:10.473Z", "new": 1,
    });
    let unknown = json!({ "type": "poll_opened", "roomId": ROOM, "seq": 2, "message": { "id": ID } });
    let of_another_shape = json!({ "type": "member_left", "roomId": ROOM, "seq": 3, "users": [] });
    let page = json!({
        "type": "previous_messages", "roomId": ROOM, "messages": [], "events": [known, unknown, of_another_shape],
        "fromSeq": 1, "toSeq": 3, "more": false,
    });
    let ServerFrame::PreviousMessages(PreviousMessages { events, .. }) = serde_json::from_value(page).unwrap() else {
        panic!("another frame")
    };
    assert!(matches!(&events[0].kind, EventKind::MemberLeft { user, .. } if user.username == "ada"));
    assert!(
        matches!(&events[1].kind, EventKind::Unknown { kind, body } if kind == "poll_opened" && body["message"]["id"] == ID)
    );
    assert!(matches!(&events[2].kind, EventKind::Unknown { kind, .. } if kind == "member_left"));
    assert_eq!(events.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn other_frames_are_not_read_as_events() {
    // `id` is missing.
    let ack = json!({ "type": "ack", "roomId": ROOM, "seq": 7, "createdAt": "2026-11-22T09:56:10.473Z" });
    assert!(serde_json::from_value::<ServerFrame<'_>>(ack).is_err());
    let confirmation = json!({ "type": "join_confirmation", "roomId": ROOM, "seq": 7 });
    assert!(serde_json::from_value::<ServerFrame<'_>>(confirmation).is_err());
    assert!(serde_json::from_value::<ServerFrame<'_>>(json!({ "type": "typing", "roomId": ROOM })).is_err());
}
