//! Tests of edits over both front doors.

use std::sync::Arc;

use chatsphere_core::ops::{self, EditMessage};
use chatsphere_core::{Caller, Clock, ManualClock, UserRef};
use serde_json::{Value, json};

use crate::database::Database;
use crate::on_every_database;
use crate::server::{Server, Setup, elsewhere, elsewhere_on_a_bus, message_path, nats, with};

on_every_database!(
    others_get_an_edit_and_the_sender_gets_an_ack,
    an_edit_over_rest_is_the_same,
    forbidden_edits_are_rejected,
    a_removed_user_edits_nothing,
    a_client_token_edits_any_message,
    a_page_shows_the_current_state,
    versions_are_listed_and_erased,
    every_answer_about_a_room_says_how_new_it_is,
    another_node_hears_of_it,
    a_client_token_changes_messages_as_a_user,
);

async fn others_get_an_edit_and_the_sender_gets_an_ack(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let posted = server.say(room, &ada, "hello").await;
    of_ada.expect("new_message").await;
    of_bob.expect("new_message").await;
    let edit = json!({ "type": "edit", "roomId": room, "messageId": posted["id"], "content": "hello, world", "ref": "e1" });
    of_ada.send(edit.clone()).await;
    let event = of_bob.frame().await;
    let edited_at = event["createdAt"].clone();
    let message = with(
        &posted,
        json!({
            "content": "hello, world", "version": 2, "changeSeq": 4, "editedAt": edited_at,
            "updatedAt": event["message"]["updatedAt"],
        }),
    );
    let by = json!({ "id": ada.id, "username": ada.username });
    let expected = json!({
        "type": "message_edited", "roomId": room, "seq": 4, "messageId": posted["id"], "messageSeq": 3,
        "message": message, "by": by, "createdAt": edited_at,
    });
    assert_eq!(event, expected);
    let ack = json!({
        "type": "ack", "roomId": room, "id": posted["id"], "seq": 4, "version": 2, "changeSeq": 4, "createdAt": edited_at,
        "ref": "e1",
    });
    assert_eq!(of_ada.until("ack").await.last(), Some(&ack));
    // The same edit again changes nothing: it is acknowledged with the room's newest event, and nobody gets an event.
    let newest = server.say(room, &bob, "next").await;
    of_ada.until("new_message").await;
    of_bob.expect("new_message").await;
    of_ada.send(edit).await;
    let again = of_ada.expect("ack").await;
    assert_eq!((&again["seq"], &again["createdAt"]), (&json!(5), &newest["createdAt"]));
    assert_eq!((&again["version"], &again["changeSeq"]), (&json!(2), &json!(4)));
    of_bob.quiet().await;
}

async fn an_edit_over_rest_is_the_same(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut of_bob = server.joined(room, &bob).await;
    let posted = server.say(room, &ada, "hello").await;
    of_bob.expect("new_message").await;
    let call = || server.call("PATCH", &message_path(room, &posted)).bearer(&ada.token);
    let answer = call().json(&json!({ "content": "hello, world" })).send().await;
    assert_eq!(answer.header("room-seq"), Some("4"));
    let message = answer.ok(200);
    let event = of_bob.frame().await;
    assert_eq!((&event["type"], &event["message"]), (&json!("message_edited"), &message));
    assert_eq!(server.get(&format!("/api/rooms/{room}/messages")).bearer(&bob.token).send().await.ok(200), json!([message]));
    call().json(&json!({})).send().await.invalid("content");
    call().json(&json!({ "ifVersion": 1 })).send().await.invalid("content");
    call().json(&json!({ "content": "" })).send().await.invalid("content");
    call().json(&json!({ "content": "x".repeat(32 * 1024 + 1) })).send().await.invalid("content");
    call().json(&json!({ "content": "other", "ifVersion": 1 })).send().await.refused(409, "version_conflict");
    // An edit with the current content succeeds, whatever the version.
    call().json(&json!({ "content": "hello, world", "ifVersion": 1 })).send().await.ok(200);
    call().json(&json!({ "content": "other", "ifVersion": 2 })).send().await.ok(200);
    assert_eq!(of_bob.frame().await["message"]["version"], 3);
}

async fn forbidden_edits_are_rejected(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let posted = server.say(room, &ada, "hello").await;
    let other = server.room("another", &ada).await;
    let frame = json!({ "type": "edit", "roomId": room, "messageId": posted["id"], "content": "x" });
    let edit = |more: Value| with(&frame, more);
    let read_only = server.token(ada.id, json!({ "permissions": { "read": true } })).await;
    for (token, frame, code, field) in [
        (&bob.token, edit(json!({})), "not_the_author", Value::Null),
        (&eve.token, edit(json!({})), "not_a_member", json!("roomId")),
        (&read_only.token, edit(json!({})), "needs_write", Value::Null),
        (&ada.token, edit(json!({ "content": "" })), "invalid", json!("content")),
        (&ada.token, edit(json!({ "messageId": "none" })), "message_not_found", json!("messageId")),
        (&ada.token, edit(json!({ "messageId": room })), "message_not_found", json!("messageId")),
        (&ada.token, edit(json!({ "roomId": other })), "message_not_found", json!("messageId")),
        (&ada.token, edit(json!({ "ifVersion": 0 })), "version_conflict", json!("ifVersion")),
        // A user who is not a member learns nothing about the message.
        (&eve.token, edit(json!({ "messageId": room })), "not_a_member", json!("roomId")),
    ] {
        let mut client = server.connect(token).await;
        let error = client.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"], &error["roomId"]), (&json!(code), &field, &frame["roomId"]), "{frame}");
    }
    let mut client = server.connect(&ada.token).await;
    let frame = json!({ "type": "edit", "roomId": room, "content": "x" });
    let error = client.ask(frame).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("invalid"), &json!("messageId")));
    let shown = server.get(&format!("/api/rooms/{room}/messages")).bearer(&ada.token).send().await.ok(200);
    assert_eq!(shown, json!([posted]));
}

async fn a_removed_user_edits_nothing(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &bob, "hello").await;
    let mut of_bob = server.joined(room, &bob).await;
    server.remove(room, &bob).await;
    let edit = json!({ "type": "edit", "roomId": room, "messageId": posted["id"], "content": "x" });
    assert_eq!(of_bob.ask(edit).await["code"], "not_a_member");
    // The removal is made on another node, of which this one has not heard.
    server.add(room, bob.id).await;
    let chat = elsewhere(&database).await;
    server.remove(room, &bob).await;
    let bob = chat.store.user(bob.id).await.unwrap().unwrap();
    let caller = Caller { operator: false, ..Caller::operator(UserRef::from(&bob), chat.clock.now()) };
    let message_id = posted["id"].as_str().unwrap().parse().unwrap();
    let edit = EditMessage { room_id: room, message_id, content: "x".to_owned(), if_version: None };
    let refused = ops::edit_message(&chat, &caller, edit).unwrap().await;
    assert!(refused.is_err(), "{refused:?}");
    let shown = server.get(&format!("/api/rooms/{room}/messages")).bearer(&ada.token).send().await.ok(200);
    assert_eq!(shown, json!([posted]));
}

async fn a_client_token_edits_any_message(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let posted = server.say(room, &ada, "hello").await;
    let edited =
        server.call("PATCH", &message_path(room, &posted)).client().json(&json!({ "content": "***" })).send().await.ok(200);
    assert_eq!((&edited["content"], &edited["userId"]), (&json!("***"), &json!(ada.id)));
    assert_eq!(edited["editedBy"], json!(server.admin_id));
    // Its author edits it again, so the last editor is the author.
    let content = json!({ "content": "hello again" });
    let edited = server.call("PATCH", &message_path(room, &posted)).bearer(&ada.token).json(&content).send().await.ok(200);
    assert_eq!((&edited["version"], &edited["editedBy"]), (&json!(3), &Value::Null));
}

async fn a_page_shows_the_current_state(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &ada, "0").await;
    let mut edited = Value::Null;
    for number in 1..=3 {
        let content = json!({ "content": number.to_string() });
        edited = server.call("PATCH", &message_path(room, &posted)).bearer(&ada.token).json(&content).send().await.ok(200);
    }
    let superseded = |event: &Value| (event["superseded"] == true, event["message"].is_null());
    let mut of_bob = server.connect(&bob.token).await;
    for since in [json!({}), json!({ "since": 0 }), json!({ "since": 3 }), json!({ "since": 4 })] {
        let joined = of_bob.join(room, since.clone()).await;
        let page = &joined.pages[0];
        let edits: Vec<_> =
            page["events"].as_array().unwrap().iter().filter(|event| event["type"] == "message_edited").collect();
        let (last, before) = edits.split_last().unwrap();
        assert_eq!(last["message"], edited, "{since}");
        assert!(before.iter().all(|event| superseded(event) == (true, true)), "{since}: {before:?}");
        assert!(page["messages"].as_array().unwrap().iter().all(|message| *message == edited));
        of_bob.send(json!({ "type": "leave", "roomId": room })).await;
        of_bob.until("leave_confirmation").await;
    }
    let events = server.events(room).await;
    assert_eq!(events.iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(events[5]["message"], edited);
}

async fn versions_are_listed_and_erased(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &bob, "one").await;
    for content in ["two", "three"] {
        let content = json!({ "content": content });
        server.call("PATCH", &message_path(room, &posted)).bearer(&bob.token).json(&content).send().await.ok(200);
    }
    let versions = format!("{}/versions", message_path(room, &posted));
    let (mut contents, mut next) = (Vec::new(), Some(format!("{versions}?limit=2")));
    while let Some(path) = next {
        let answer = server.get(&path).bearer(&bob.token).send().await;
        assert_eq!(answer.header("room-seq"), Some("5"));
        next = answer.links().remove("next");
        contents.extend(answer.ok(200).as_array().unwrap().iter().cloned());
    }
    let shown: Vec<_> =
        contents.iter().map(|version| (version["version"].as_u64().unwrap(), version["content"].clone())).collect();
    assert_eq!(shown, [(3, json!("three")), (2, json!("two")), (1, json!("one"))]);
    assert!(contents.iter().all(|version| version["by"]["id"] == json!(bob.id)));
    // The room's owner may see the versions; only the author may erase them.
    server.get(&versions).bearer(&ada.token).send().await.ok(200);
    server.delete(&versions).bearer(&ada.token).send().await.refused(403, "not_the_author");
    server.delete(&versions).bearer(&bob.token).send().await.ok(200);
    let left = server.get(&versions).bearer(&bob.token).send().await.ok(200);
    let left: Vec<_> = left.as_array().unwrap().iter().map(|version| version["content"].clone()).collect();
    assert_eq!(left, [json!("three"), Value::Null, Value::Null]);
    // A cursor of one message's versions is invalid for another's.
    let other = server.say(room, &bob, "other").await;
    let cursor = server.get(&format!("{versions}?limit=1")).bearer(&bob.token).send().await.links()["next"].clone();
    let (_, cursor) = cursor.split_once("cursor=").unwrap();
    let elsewhere = format!("{}/versions?limit=1&cursor={cursor}", message_path(room, &other));
    server.get(&elsewhere).bearer(&bob.token).send().await.invalid("cursor");
}

async fn every_answer_about_a_room_says_how_new_it_is(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let posted = server.say(room, &ada, "hello").await;
    let eve = server.user("eve").await;
    let room_path = format!("/api/rooms/{room}");
    let message = message_path(room, &posted);
    for (method, path, body, seq) in [
        ("GET", room_path.clone(), None, "3"),
        ("GET", format!("{room_path}/users"), None, "3"),
        ("GET", format!("{room_path}/messages"), None, "3"),
        ("GET", format!("{room_path}/messages?after=0"), None, "3"),
        ("GET", format!("{room_path}/events"), None, "3"),
        ("GET", format!("{message}/versions"), None, "3"),
        ("POST", format!("{room_path}/typing"), Some(json!({})), "3"),
        ("POST", format!("{room_path}/signals"), Some(json!({ "name": "x", "data": 1 })), "3"),
        ("POST", format!("{room_path}/messages"), Some(json!({ "content": "x" })), "4"),
        ("PATCH", message.clone(), Some(json!({ "content": "y" })), "5"),
        ("PATCH", message.clone(), Some(json!({ "content": "y" })), "5"),
        ("DELETE", format!("{message}/versions"), None, "5"),
        ("POST", format!("{room_path}/users"), Some(json!({ "userId": eve.id })), "6"),
        ("POST", format!("{room_path}/users"), Some(json!({ "userId": eve.id })), "6"),
        ("DELETE", format!("{room_path}/users/{}", eve.id), None, "7"),
        ("DELETE", format!("{room_path}/users/{}", eve.id), None, "7"),
    ] {
        let mut call = server.call(method, &path).bearer(&ada.token).header("origin", "https://chat.example");
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call.send().await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("room-seq"), Some(seq), "{method} {path}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("room-seq"), "{exposed}");
    }
}

async fn another_node_hears_of_it(database: Arc<Database>) {
    let Some(nats) = nats().await else { return };
    let server = Server::start_with(&database, Setup { nats: Some(nats.url()), ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let mut of_bob = server.joined(room, &bob).await;
    let posted = server.say(room, &ada, "hello").await;
    of_bob.expect("new_message").await;
    let clock = Arc::new(ManualClock::new(server.backend.clock.now()));
    let (other, _tasks) = elsewhere_on_a_bus(&database, &nats.url(), clock).await;
    let admin = other.store.user(server.admin_id).await.unwrap().unwrap();
    let caller = Caller::operator(UserRef::from(&admin), other.clock.now());
    let message_id = posted["id"].as_str().unwrap().parse().unwrap();
    let edit = EditMessage { room_id: room, message_id, content: "hello, world".to_owned(), if_version: None };
    let edited = ops::edit_message(&other, &caller, edit).unwrap().await.unwrap();
    let event = of_bob.frame().await;
    assert_eq!((&event["type"], &event["seq"]), (&json!("message_edited"), &json!(edited.seq)));
    assert_eq!(event["message"]["content"], "hello, world");
    assert_eq!(event["by"]["id"], json!(server.admin_id));
}

async fn a_client_token_changes_messages_as_a_user(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let posted = server.say(room, &ada, "one").await;
    let token = server.client_token.clone();
    let mut backend = server.connect(&token).await;
    let edit = |user: &str, content: &str| {
        json!({
            "type": "edit", "roomId": room, "messageId": posted["id"], "content": content, "userId": user, "ref": content,
        })
    };
    let delete =
        |user: &str| json!({ "type": "delete", "roomId": room, "messageId": posted["id"], "userId": user, "ref": "d" });
    let (of_ada, of_bob, of_eve) = (ada.id.to_string(), bob.id.to_string(), eve.id.to_string());
    // That user's rights count, not the backend's own.
    for (frame, code, field) in [
        (edit(&of_bob, "x"), "not_the_author", Value::Null),
        (edit(&of_eve, "x"), "not_a_member", json!("roomId")),
        (edit("none", "x"), "user_not_found", json!("userId")),
        (edit(&room.to_string(), "x"), "user_not_found", json!("userId")),
        (delete(&of_bob), "not_a_moderator", Value::Null),
        (delete(&of_eve), "not_a_member", json!("roomId")),
        (delete("none"), "user_not_found", json!("userId")),
    ] {
        let error = backend.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{frame}");
    }
    for frame in [edit(&of_bob, "x"), delete(&of_bob)] {
        let error = server.connect(&ada.token).await.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("not_yourself"), &json!("userId")), "{frame}");
    }
    // Frames take effect in their order, also those that name a user.
    let mut seen = server.joined(room, &bob).await;
    for frame in [edit(&of_ada, "two"), edit(&of_ada, "three"), delete(&of_ada)] {
        backend.send(frame).await;
    }
    for (kind, content) in [("message_edited", "two"), ("message_edited", "three"), ("message_deleted", "")] {
        let event = seen.expect(kind).await;
        assert_eq!((&event["message"]["content"], &event["by"]["id"]), (&json!(content), &json!(ada.id)));
    }
    for reference in ["two", "three", "d"] {
        assert_eq!(backend.expect("ack").await["ref"], reference);
    }
}
