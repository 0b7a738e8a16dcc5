//! Tests of deletions over both front doors.

use std::sync::Arc;

use chatsphere_core::RoomId;
use serde_json::{Value, json};

use crate::database::Database;
use crate::on_every_database;
use crate::server::{Server, message_path, with};

on_every_database!(
    others_get_a_deletion_and_the_sender_gets_an_ack,
    a_deletion_over_rest_is_the_same,
    forbidden_deletions_are_rejected,
    moderators_delete_messages_of_others,
    a_replay_shows_the_tombstone,
    an_outbox_that_resends_gets_the_tombstone,
    deleting_for_good_leaves_only_the_number,
);

fn frame(room: RoomId, message: &Value) -> Value {
    json!({ "type": "delete", "roomId": room, "messageId": message["id"], "ref": "d1" })
}

async fn others_get_a_deletion_and_the_sender_gets_an_ack(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let posted = server.say(room, &ada, "hello").await;
    of_ada.expect("new_message").await;
    of_bob.expect("new_message").await;
    of_ada.send(frame(room, &posted)).await;
    let event = of_bob.frame().await;
    let at = event["createdAt"].clone();
    let tombstone = with(
        &posted,
        json!({
            "content": "", "version": 2, "changeSeq": 4, "deletedAt": at, "deletedBy": ada.id, "updatedAt": at,
        }),
    );
    let by = json!({ "id": ada.id, "username": ada.username });
    let expected = json!({
        "type": "message_deleted", "roomId": room, "seq": 4, "messageId": posted["id"], "messageSeq": 3,
        "message": tombstone, "hard": false, "by": by, "createdAt": at,
    });
    assert_eq!(event, expected);
    let ack = json!({
        "type": "ack", "roomId": room, "id": posted["id"], "seq": 4, "version": 2, "changeSeq": 4, "createdAt": at,
        "ref": "d1",
    });
    assert_eq!(of_ada.until("ack").await.last(), Some(&ack));
    // The same again changes nothing: it is acknowledged with the room's newest event, and nobody gets an event.
    let newest = server.say(room, &bob, "next").await;
    of_ada.until("new_message").await;
    of_bob.expect("new_message").await;
    let again = of_ada.ask(frame(room, &posted)).await;
    assert_eq!((&again["seq"], &again["createdAt"]), (&json!(5), &newest["createdAt"]));
    of_bob.quiet().await;
    let edit = json!({ "type": "edit", "roomId": room, "messageId": posted["id"], "content": "x" });
    let error = of_ada.ask(edit).await;
    assert_eq!((&error["code"], &error["field"]), (&json!("message_deleted"), &json!("messageId")));
}

async fn a_deletion_over_rest_is_the_same(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut of_bob = server.joined(room, &bob).await;
    let posted = server.say(room, &ada, "hello").await;
    of_bob.expect("new_message").await;
    let delete = || server.call("DELETE", &message_path(room, &posted)).bearer(&ada.token);
    let answer = delete().send().await;
    assert_eq!(answer.header("room-seq"), Some("4"));
    let tombstone = answer.ok(200);
    assert_eq!((&tombstone["content"], &tombstone["deletedBy"]), (&json!(""), &json!(ada.id)));
    let event = of_bob.frame().await;
    assert_eq!((&event["type"], &event["message"]), (&json!("message_deleted"), &tombstone));
    for messages in ["messages", "messages?before=4", "messages?after=2"] {
        let page = server.get(&format!("/api/rooms/{room}/{messages}")).bearer(&bob.token).send().await.ok(200);
        assert_eq!(page, json!([tombstone]), "{messages}");
    }
    assert_eq!(delete().send().await.ok(200), tombstone);
    // What the call does not do is not silently left out.
    for query in ["hard=1", "hard=", "hard=true&hard=true", "for=good"] {
        let call = server.call("DELETE", &format!("{}?{query}", message_path(room, &posted))).bearer(&ada.token);
        call.send().await.refused(400, "invalid");
    }
    let edit = server.call("PATCH", &message_path(room, &posted)).bearer(&ada.token).json(&json!({ "content": "x" }));
    edit.send().await.refused(409, "message_deleted");
    let versions = server.get(&format!("{}/versions", message_path(room, &posted))).bearer(&ada.token).send().await.ok(200);
    assert_eq!(versions.as_array().unwrap().len(), 1);
    assert_eq!(versions[0].get("content"), None);
}

async fn forbidden_deletions_are_rejected(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let posted = server.say(room, &ada, "hello").await;
    let other = server.room("another", &ada).await;
    let no_deletes = server.token(ada.id, json!({ "permissions": { "read": true, "write": true } })).await;
    let in_other = json!({ "type": "delete", "roomId": other, "messageId": posted["id"] });
    for (token, frame, code, field) in [
        (&bob.token, frame(room, &posted), "not_a_moderator", Value::Null),
        (&eve.token, frame(room, &posted), "not_a_member", json!("roomId")),
        (&no_deletes.token, frame(room, &posted), "needs_delete", Value::Null),
        (&ada.token, frame(room, &json!({ "id": "none" })), "message_not_found", json!("messageId")),
        (&ada.token, frame(room, &json!({ "id": room })), "message_not_found", json!("messageId")),
        (&ada.token, in_other, "message_not_found", json!("messageId")),
        (&eve.token, frame(room, &json!({ "id": room })), "not_a_member", json!("roomId")),
    ] {
        let error = server.connect(token).await.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{frame}");
    }
    let shown = server.get(&format!("/api/rooms/{room}/messages")).bearer(&ada.token).send().await.ok(200);
    assert_eq!(shown, json!([posted]));
}

async fn moderators_delete_messages_of_others(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    // The room's owner.
    let posted = server.say(room, &bob, "one").await;
    let tombstone = server.call("DELETE", &message_path(room, &posted)).bearer(&ada.token).send().await.ok(200);
    assert_eq!((&tombstone["userId"], &tombstone["deletedBy"]), (&json!(bob.id), &json!(ada.id)));
    // A CLIENT token.
    let posted = server.say(room, &bob, "two").await;
    server.call("DELETE", &message_path(room, &posted)).client().send().await.ok(200);
}

async fn a_replay_shows_the_tombstone(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let posted = server.say(room, &ada, "a secret").await;
    server.say(room, &bob, "next").await;
    let tombstone = server.call("DELETE", &message_path(room, &posted)).bearer(&ada.token).send().await.ok(200);
    let page = server.get(&format!("/api/rooms/{room}/events")).bearer(&bob.token).send().await.ok(200);
    assert_eq!(page[2]["message"], tombstone);
    // The page has the state once: the event that follows refers to it.
    assert_eq!((&page[4]["type"], &page[4]["superseded"]), (&json!("message_deleted"), &Value::Null));
    let mut client = server.connect(&bob.token).await;
    client.send(json!({ "type": "join", "roomId": room, "since": 0 })).await;
    let frames = client.until("join_confirmation").await;
    assert!(!json!(frames).to_string().contains("a secret"), "{frames:?}");
}

async fn an_outbox_that_resends_gets_the_tombstone(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let send = json!({ "content": "hello", "clientMessageId": "m-1" });
    let post = || server.call("POST", &format!("/api/rooms/{room}/messages")).bearer(&ada.token).json(&send);
    let posted = post().send().await.ok(201);
    let tombstone = server.call("DELETE", &message_path(room, &posted)).bearer(&ada.token).send().await.ok(200);
    assert_eq!(post().send().await.ok(201), tombstone);
}

async fn deleting_for_good_leaves_only_the_number(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let send = json!({ "content": "a secret", "clientMessageId": "m-1" });
    let posted =
        server.call("POST", &format!("/api/rooms/{room}/messages")).bearer(&ada.token).json(&send).send().await.ok(201);
    let edit =
        server.call("PATCH", &message_path(room, &posted)).bearer(&ada.token).json(&json!({ "content": "a secret too" }));
    edit.send().await.ok(200);
    let kept = server.say(room, &bob, "kept").await;
    let mut of_bob = server.joined(room, &bob).await;
    let path = message_path(room, &posted);
    let remove = || server.call("DELETE", &format!("{path}?hard=true"));
    // Not even its author may do that.
    remove().bearer(&ada.token).send().await.refused(403, "client_token_required");
    let answer = remove().client().send().await;
    assert_eq!(answer.header("room-seq"), Some("6"));
    let left = answer.ok(200);
    let event = of_bob.frame().await;
    assert_eq!(left, json!({ "id": posted["id"], "seq": 3, "changeSeq": 6, "deletedAt": event["createdAt"] }));
    let expected = json!({
        "type": "message_deleted", "roomId": room, "seq": 6, "messageId": posted["id"], "messageSeq": 3, "message": left,
        "hard": true, "by": event["by"], "createdAt": event["createdAt"],
    });
    assert_eq!(event, expected);
    assert_eq!(remove().client().send().await.ok(200), left);
    of_bob.quiet().await;
    // It is in no page, and other calls do not find it.
    let get = async |path: &str| server.get(path).bearer(&ada.token).send().await;
    for query in ["", "?before=6", "?after=0", "?around=3"] {
        assert_eq!(get(&format!("/api/rooms/{room}/messages{query}")).await.ok(200), json!([kept]), "{query}");
    }
    for query in [
        path.clone(),
        format!("{path}/versions"),
        format!("/api/rooms/{room}/messages?around={}", posted["id"].as_str().unwrap()),
    ] {
        get(&query).await.refused(404, "message_not_found");
    }
    assert_eq!(get("/api/messages/user").await.ok(200), json!([]));
    for (method, path, body) in [
        ("PATCH", path.clone(), json!({ "content": "x" })),
        ("DELETE", path.clone(), Value::Null),
        ("DELETE", format!("{path}/versions"), Value::Null),
        ("PUT", path.replace("/messages/", "/pins/"), Value::Null),
    ] {
        let call = server.call(method, &path).bearer(&ada.token);
        let call = if body.is_null() { call } else { call.json(&body) };
        call.send().await.refused(404, "message_not_found");
    }
    // The log has no gap, and no word of it.
    let page = get(&format!("/api/rooms/{room}/events")).await.ok(200);
    let kinds: Vec<&str> = page.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = ["member_joined", "member_joined", "message_removed", "message_edited", "new_message", "message_deleted"];
    assert_eq!(kinds, expected);
    let fields: Vec<&String> = page[2].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["createdAt", "messageId", "roomId", "seq", "type"]);
    assert_eq!((&page[3]["superseded"], &page[5]["message"]), (&json!(true), &left));
    let mut client = server.connect(&bob.token).await;
    client.send(json!({ "type": "join", "roomId": room, "since": 0 })).await;
    client.expect("join_confirmation").await;
    let replay = client.expect("previous_messages").await;
    assert_eq!(replay["messages"], json!([kept]));
    for text in [page.to_string(), replay.to_string()] {
        assert!(!text.contains("secret") && !text.contains("m-1"), "{text}");
    }
    // An outbox that sends it again stores nothing, and is answered.
    let post = server.call("POST", &format!("/api/rooms/{room}/messages")).bearer(&ada.token).json(&send);
    let answer = post.send().await;
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    let again = answer.ok(201);
    assert_eq!((&again["id"], &again["content"], &again["deletedAt"]), (&posted["id"], &json!(""), &left["deletedAt"]));
    let resent = json!({ "type": "message", "roomId": room, "content": "a secret", "clientMessageId": "m-1", "ref": "r1" });
    let ack = server.connect(&ada.token).await.ask(resent).await;
    assert_eq!(
        (&ack["type"], &ack["id"], &ack["seq"], &ack["clientMessageId"]),
        (&json!("ack"), &posted["id"], &json!(3), &json!("m-1"))
    );
    of_bob.quiet().await;
    // An ADMIN may do that too, also to what is deleted already.
    let admin = server.user("root").await;
    let promote = server.call("PATCH", &format!("/api/users/{}", admin.id)).json(&json!({ "role": "ADMIN" }));
    promote.client().send().await.ok(200);
    let tombstone = server.call("DELETE", &message_path(room, &kept)).bearer(&bob.token).send().await.ok(200);
    let left =
        server.call("DELETE", &format!("{}?hard=true", message_path(room, &kept))).bearer(&admin.token).send().await.ok(200);
    assert!(left["changeSeq"].as_u64() > tombstone["changeSeq"].as_u64());
    assert_eq!(get(&format!("/api/rooms/{room}/messages")).await.ok(200), json!([]));
}
