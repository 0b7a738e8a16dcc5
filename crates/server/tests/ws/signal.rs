//! Tests of signals that the application defines.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::ops::{self, SendSignal};
use chatsphere_core::signal::{SignalData, SignalName};
use chatsphere_core::{AppContext, Caller, Clock, ManualClock, RoomId, SignalKind, UserRef};
use serde_json::{Value, json};

use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT};
use crate::server::{Server, Setup, elsewhere_on_a_bus, nats};
use crate::support::Person;

on_every_database!(
    every_other_joined_connection_gets_it,
    data_is_passed_on_as_it_was_written,
    bad_signals_are_refused,
    rights_are_checked_each_time,
    a_client_token_signals_as_a_user,
    none_is_merged_and_the_rate_is_limited,
    a_slow_client_loses_signals_and_no_events,
    signals_of_another_node_are_received,
);

fn up(room: RoomId, name: &str, data: Value) -> Value {
    json!({ "type": "signal", "roomId": room, "name": name, "data": data })
}

fn down(room: RoomId, user: &Person, name: &str, data: Value) -> Value {
    let user = json!({ "id": user.id, "username": user.username });
    json!({ "type": "signal", "roomId": room, "user": user, "name": name, "data": data })
}

/// Sends a signal as a user on another node.
async fn signals_on(chat: &AppContext, room_id: RoomId, person: &Person, data: &str) {
    let user = chat.store.user(person.id).await.unwrap().unwrap();
    let caller = Caller { operator: false, ..Caller::operator(UserRef::from(&user), chat.clock.now()) };
    let (name, data) = (SignalName::parse("there".to_owned()).unwrap(), SignalData::parse(data).unwrap());
    let kind = SignalKind::Custom { room_id, name, data };
    ops::signal(chat, &caller, SendSignal { kind, user: None, from: None }).await.unwrap();
}

async fn every_other_joined_connection_gets_it(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut other_of_ada) = (server.joined(room, &ada).await, server.joined(room, &ada).await);
    let mut of_bob = server.joined(room, &bob).await;
    let (mut not_joined, mut elsewhere) = (server.connect(&bob.token).await, server.connect(&ada.token).await);
    let other_room = server.room("other", &ada).await;
    elsewhere.join(other_room, json!({})).await;
    of_ada.send(up(room, "cursor", json!({ "x": 1 }))).await;
    for client in [&mut other_of_ada, &mut of_bob] {
        assert_eq!(client.frame().await, down(room, &ada, "cursor", json!({ "x": 1 })));
    }
    // Without having joined, and over REST.
    not_joined.send(up(room, "ring", Value::Null)).await;
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        assert_eq!(client.frame().await, down(room, &bob, "ring", Value::Null));
    }
    let url = format!("/api/rooms/{room}/signals");
    server.post(&url, &json!({ "name": "move", "data": [1, "e4"] })).bearer(&ada.token).send().await.ok(200);
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        assert_eq!(client.frame().await, down(room, &ada, "move", json!([1, "e4"])));
    }
    // A signal has no number: the next frame is the next event. Nobody is shown it later.
    of_ada.post(room, "that").await;
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        assert_eq!(client.expect("new_message").await["seq"], 3);
        client.quiet().await;
    }
    server.joined(room, &bob).await.quiet().await;
    not_joined.quiet().await;
    elsewhere.quiet().await;
}

async fn data_is_passed_on_as_it_was_written(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut of_ada = server.joined(room, &ada).await;
    let mut raw = Raw::connect(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room })).await;
    while raw.read().await.json()["type"] != "previous_messages" {}
    let longest = format!("\"{}\"", "\\u0041".repeat(170));
    for data in [r#"{ "n": 12345678901234567890.123456789012345678901234567890, "e":1e2 , "\u0061":0.10}"#, "-0.0", &longest] {
        of_ada.send_text(&format!(r#"{{"type":"signal","roomId":"{room}","name":"a","data": {data} ,"ref":null}}"#)).await;
        let body = format!(r#"{{"name":"a","data": {data} }}"#).into_bytes();
        let call = server.call("POST", &format!("/api/rooms/{room}/signals")).raw("application/json", body);
        call.bearer(&ada.token).send().await.ok(200);
        for _ in 0..2 {
            let text = String::from_utf8(raw.read().await.payload).unwrap();
            assert!(text.ends_with(&format!(r#""data":{data}}}"#)), "{text}");
        }
        of_ada.expect("signal").await;
    }
}

async fn bad_signals_are_refused(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut of_bob = server.joined(room, &bob).await;
    let mut of_ada = server.connect(&ada.token).await;
    let levels = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
    let (short, long) = ("x".repeat(32), "x".repeat(33));
    for (name, data, field) in [
        ("\"\"", "1", "name"),
        (&format!("\"{long}\""), "1", "name"),
        (r#""a\u0000""#, "1", "name"),
        (r#""a\nb""#, "1", "name"),
        ("\"a\"", &levels(17), "data"),
        ("\"a\"", &levels(120), "data"),
        ("\"a\"", &levels(20_000), "data"),
        ("\"a\"", &format!("\"{}\"", "x".repeat(1_023)), "data"),
        ("\"a\"", r#""\ud83d""#, "data"),
        ("\"a\"", "1e400", "data"),
    ] {
        let frame = format!(r#"{{"type":"signal","roomId":"{room}","name":{name},"data":{data},"ref":"r"}}"#);
        of_ada.send_text(&frame).await;
        let error = of_ada.answer("r").await;
        assert_eq!((&error["code"], &error["field"]), (&json!("invalid"), &json!(field)), "{frame}");
        let body = format!(r#"{{"name":{name},"data":{data}}}"#).into_bytes();
        let call = server.call("POST", &format!("/api/rooms/{room}/signals")).raw("application/json", body);
        call.bearer(&ada.token).send().await.invalid(field);
    }
    for (frame, code, field) in [
        (json!({ "type": "signal", "roomId": room, "data": 1 }), "invalid", "name"),
        (json!({ "type": "signal", "roomId": room, "name": "a" }), "invalid", "data"),
        (json!({ "type": "signal", "name": "a", "data": 1 }), "invalid", "roomId"),
        (json!({ "type": "signal", "roomId": room, "name": 7, "data": 1 }), "malformed", "name"),
    ] {
        let error = of_ada.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{frame}");
    }
    // The longest and deepest.
    let data = format!("[{},\"{}\"]", levels(15), "x".repeat(1_024 - 30 - 5));
    of_ada.send(up(room, &short, serde_json::from_str(&data).unwrap())).await;
    assert_eq!(of_bob.expect("signal").await["name"], json!(short));
    of_bob.quiet().await;
}

async fn rights_are_checked_each_time(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let stranger = server.user("eve").await;
    let mut of_bob = server.joined(room, &bob).await;
    let only_reads = server.token(ada.id, json!({ "permissions": { "read": true } })).await;
    let no_room = RoomId::new(server.backend.clock.now());
    let as_bob = json!({ "type": "signal", "roomId": room, "name": "a", "data": 1, "userId": bob.id });
    for (token, frame, code, field) in [
        (&stranger.token, up(room, "a", json!(1)), "not_a_member", json!("roomId")),
        (&ada.token, up(no_room, "a", json!(1)), "not_a_member", json!("roomId")),
        (&only_reads.token, up(room, "a", json!(1)), "needs_write", Value::Null),
        (&ada.token, as_bob, "not_yourself", json!("userId")),
    ] {
        let error = server.connect(token).await.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{frame}");
    }
    let mut of_ada = server.joined(room, &ada).await;
    server.remove(room, &ada).await;
    of_bob.expect("member_left").await;
    of_ada.until("left").await;
    assert_eq!(of_ada.ask(up(room, "a", json!(1))).await["code"], "not_a_member");
    let mut backend = server.connect(&server.client_token).await;
    backend.send(up(room, "a", json!(1))).await;
    of_bob.expect("signal").await;
    of_ada.quiet().await;
}

async fn a_client_token_signals_as_a_user(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let stranger = server.user("eve").await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let mut backend = server.connect(&server.client_token).await;
    backend.join(room, json!({})).await;
    let mut frame = up(room, "a", json!(1));
    frame["userId"] = json!(ada.id);
    backend.send(frame.clone()).await;
    for client in [&mut of_ada, &mut of_bob] {
        assert_eq!(client.frame().await, down(room, &ada, "a", json!(1)));
    }
    let url = |user: &dyn std::fmt::Display| format!("/api/rooms/{room}/signals?as={user}");
    let body = json!({ "name": "b", "data": 2 });
    server.post(&url(&bob.id), &body).client().send().await.ok(200);
    for client in [&mut of_ada, &mut of_bob, &mut backend] {
        assert_eq!(client.frame().await, down(room, &bob, "b", json!(2)));
    }
    // That user's rights and limits count, not the backend's own.
    server.post(&url(&stranger.id), &body).client().send().await.refused(403, "not_a_member");
    server.post(&url(&"none"), &body).client().send().await.refused(404, "user_not_found");
    server.post(&url(&ada.id), &body).bearer(&bob.token).send().await.refused(403, "not_yourself");
    for _ in 0..9 {
        backend.send(frame.clone()).await;
    }
    assert_eq!(backend.ask(frame).await["code"], "rate_limited");
    let nobody = server.backend.clock.now();
    let url = format!("/api/rooms/{}/signals", RoomId::new(nobody));
    server.post(&url, &body).client().send().await.refused(404, "room_not_found");
}

async fn none_is_merged_and_the_rate_is_limited(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    for number in 0..10 {
        of_ada.feed(up(room, "a", json!(number))).await;
    }
    of_ada.flush().await;
    for number in 0..10 {
        assert_eq!(of_bob.frame().await, down(room, &ada, "a", json!(number)));
    }
    let error = of_ada.ask(up(room, "a", json!(10))).await;
    assert_eq!(
        (&error["code"], &error["retryable"], &error["retryAfterMs"]),
        (&json!("rate_limited"), &json!(true), &json!(100))
    );
    // Typing counts separately.
    of_ada.send(json!({ "type": "typing", "roomId": room })).await;
    of_bob.expect("typing").await;
    let url = format!("/api/rooms/{room}/signals");
    let answer = server.post(&url, &json!({ "name": "a", "data": 1 })).bearer(&ada.token).send().await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"signals\";q=10;w=1"));
    answer.refused(429, "rate_limited");
    server.backend.clock.advance(Duration::from_millis(100));
    of_ada.send(up(room, "a", json!(11))).await;
    assert_eq!(of_bob.frame().await, down(room, &ada, "a", json!(11)));
    of_bob.quiet().await;
}

async fn a_slow_client_loses_signals_and_no_events(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.outbound_queue_bytes = 12_000_000)).await;
    let (room, ada, bob) = server.pair().await;
    let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room })).await;
    while raw.read().await.json()["type"] != "previous_messages" {}
    let mut of_ada = server.joined(room, &ada).await;
    // Less than the bound. What the sockets of both sides buffer, at most 4 MiB each, leaves more than a quarter of the bound.
    let count = 800;
    server.fill(room, &ada, (0..count).map(|_| "x".repeat(12_000))).await;
    for _ in 0..count {
        of_ada.expect("new_message").await;
    }
    let url = format!("/api/rooms/{room}/signals");
    server.post(&url, &json!({ "name": "a", "data": 1 })).bearer(&bob.token).send().await.ok(200);
    assert_eq!(of_ada.frame().await["type"], "signal");
    let mut seen = 0;
    while seen < count {
        let frame = raw.read().await;
        if frame.first == TEXT {
            assert_ne!(frame.json()["type"], "signal");
            seen += 1;
        }
    }
    server.post(&url, &json!({ "name": "a", "data": 2 })).bearer(&bob.token).send().await.ok(200);
    assert_eq!(raw.read().await.json()["data"], 2);
}

async fn signals_of_another_node_are_received(database: Arc<Database>) {
    let Some(nats) = nats().await else { return };
    let server = Server::start_with(&database, Setup { nats: Some(nats.url()), ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let clock = Arc::new(ManualClock::new(server.backend.clock.now()));
    let (other, _tasks) = elsewhere_on_a_bus(&database, &nats.url(), clock.clone()).await;
    // Both nodes may not be connected to NATS yet.
    loop {
        signals_on(&other, room, &ada, "0").await;
        if of_bob.within(Duration::from_millis(100)).await.is_some() {
            break;
        }
        clock.advance(Duration::from_secs(1));
    }
    clock.advance(Duration::from_secs(1));
    for data in ["1", "[2]", "\"3\""] {
        signals_on(&other, room, &ada, data).await;
    }
    for client in [&mut of_ada, &mut of_bob] {
        for data in [json!(1), json!([2]), json!("3")] {
            let frame = loop {
                let frame = client.frame().await;
                if frame["data"] != json!(0) {
                    break frame;
                }
            };
            assert_eq!(frame, down(room, &ada, "there", data));
        }
    }
    // The other node has removed a member. Its next signal waits until this node knows of that.
    let admin = other.store.user(server.admin_id).await.unwrap().unwrap();
    let caller = Caller::operator(UserRef::from(&admin), clock.now());
    let removal = ops::RemoveMember { room_id: room, user_id: bob.id };
    ops::remove_member(&other, &caller, removal).await.unwrap();
    signals_on(&other, room, &ada, "4").await;
    let seen = of_bob.until("left").await;
    assert!(seen.iter().all(|frame| frame["type"] != "signal"), "{seen:?}");
    of_bob.quiet().await;
    other.store.close().await;
}
