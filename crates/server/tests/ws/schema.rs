//! Tests of what the schema of frames accepts and rejects. All other WebSocket tests validate their frames against it.

use serde_json::{Value, json};

use crate::support::{client_frame, server_frame};

const ID: &str = "0198c0de-7c1a-7000-8000-0123456789ab";
const AT: &str = "2026-11-22T09:56:10.473Z";

fn with(mut frame: Value, field: &str, value: Value) -> Value {
    frame[field] = value;
    frame
}

fn without(mut frame: Value, field: &str) -> Value {
    frame.as_object_mut().unwrap().remove(field).unwrap();
    frame
}

fn joined() -> Value {
    let user = json!({ "id": ID, "username": "ada" });
    json!({ "type": "member_joined", "roomId": ID, "seq": 1, "user": user, "by": user, "createdAt": AT })
}

fn page(events: &[Value]) -> Value {
    json!({
        "type": "previous_messages", "roomId": ID, "messages": [], "events": events, "fromSeq": 1, "toSeq": 1, "more": false,
    })
}

#[test]
fn a_known_type_with_other_fields_is_rejected() {
    let ack = json!({ "type": "ack", "roomId": ID, "id": ID, "seq": 1, "createdAt": AT, "ref": "r" });
    let error = json!({ "type": "error", "code": "invalid", "message": "m", "retryable": false });
    for frame in [ack.clone(), error.clone(), joined(), page(&[joined()]), json!({ "type": "pong" })] {
        server_frame(&frame).unwrap();
        server_frame(&with(frame, "later", json!([1]))).unwrap();
    }
    for frame in [
        without(ack.clone(), "id"),
        with(ack.clone(), "seq", json!("1")),
        with(ack.clone(), "createdAt", json!("yesterday")),
        with(ack, "ref", Value::Null),
        without(error, "retryable"),
        without(joined(), "by"),
        without(joined(), "roomId"),
        page(&[without(joined(), "user")]),
        page(&[with(joined(), "type", json!("ack"))]),
        json!({ "type": "hello" }),
        json!({ "seq": 1 }),
    ] {
        server_frame(&frame).unwrap_err();
    }
}

#[test]
fn an_unknown_type_from_the_server_is_accepted() {
    let pinned = json!({ "type": "poll_opened", "roomId": ID, "seq": 2, "until": "tomorrow" });
    for frame in [json!({ "type": "presence" }), pinned.clone(), page(std::slice::from_ref(&pinned))] {
        server_frame(&frame).unwrap();
    }
    server_frame(&page(&[without(pinned, "seq")])).unwrap_err();
    let confirmation = json!({
        "type": "join_confirmation", "roomId": ID, "seq": 3, "epoch": "e", "recovered": false, "reason": "a_new_one",
    });
    server_frame(&confirmation).unwrap();
}

#[test]
fn frames_of_clients_are_described() {
    let message = json!({ "type": "message", "roomId": ID, "content": "x", "clientMessageId": null, "later": 1, "ref": "r" });
    client_frame(&message).unwrap();
    client_frame(&json!({ "type": "ping" })).unwrap();
    for frame in [
        without(message.clone(), "content"),
        with(message.clone(), "roomId", json!("lobby")),
        with(message.clone(), "ref", json!(7)),
        with(message, "type", json!("fly")),
        json!({ "type": "join", "roomId": ID, "since": -1 }),
        json!({ "type": "typing", "roomId": ID, "on": "yes" }),
        json!({ "type": "signal", "roomId": ID, "name": 7, "data": 1 }),
        json!({ "type": "signal", "roomId": ID, "name": "x" }),
    ] {
        client_frame(&frame).unwrap_err();
    }
}
