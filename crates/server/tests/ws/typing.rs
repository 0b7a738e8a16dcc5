//! Tests of typing signals.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::ops::{self, SendSignal};
use chatsphere_core::{AppContext, Caller, Clock, ManualClock, RoomId, SignalKind, UserRef};
use serde_json::{Value, json};

use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT};
use crate::server::{Server, Setup, elsewhere, elsewhere_on_a_bus, nats};
use crate::support::Person;

on_every_database!(
    others_see_who_types_and_that_it_stops,
    a_new_subscriber_is_shown_who_types,
    rights_are_checked_each_time,
    a_client_token_types_as_a_user,
    a_repeated_signal_is_not_sent_again,
    a_removed_user_sends_and_receives_no_signals,
    a_slow_client_loses_signals_and_no_events,
    signals_of_another_node_are_received,
);

const REPEATED: Duration = Duration::from_secs(3);

fn typing(room: RoomId, user: &Person, expires_in_ms: u64) -> Value {
    let user = json!({ "id": user.id, "username": user.username });
    json!({ "type": "typing", "roomId": room, "user": user, "expiresInMs": expires_in_ms })
}

/// The frame as it is sent at the moment when the user began. A subscription that has just begun may get the time that is left.
fn started(mut frame: Value) -> Value {
    let left = frame["expiresInMs"].as_u64().unwrap();
    assert!((1..=6_000).contains(&left), "{frame}");
    frame["expiresInMs"] = json!(6_000);
    frame
}

/// Sends a typing signal as a user on another node.
async fn types_on(chat: &AppContext, room_id: RoomId, person: &Person) {
    let user = chat.store.user(person.id).await.unwrap().unwrap();
    let caller = Caller { operator: false, ..Caller::operator(UserRef::from(&user), chat.clock.now()) };
    let kind = SignalKind::Typing { room_id, parent_id: None, on: true };
    ops::signal(chat, &caller, SendSignal { kind, user: None, from: None }).await.unwrap();
}

async fn others_see_who_types_and_that_it_stops(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut other_of_ada) = (server.joined(room, &ada).await, server.joined(room, &ada).await);
    let mut of_bob = server.joined(room, &bob).await;
    of_ada.send(json!({ "type": "typing", "roomId": room })).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    of_ada.send(json!({ "type": "typing", "roomId": room, "on": false })).await;
    assert_eq!(of_bob.frame().await, typing(room, &ada, 0));
    // In a thread, and over REST.
    let parent = server.say(room, &bob, "what do you think?").await["id"].clone();
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        client.expect("new_message").await;
    }
    let url = format!("/api/rooms/{room}/typing");
    server.backend.clock.advance(REPEATED);
    server.post(&url, &json!({ "parentId": parent })).bearer(&bob.token).send().await.ok(200);
    let mut expected = typing(room, &bob, 6_000);
    expected["parentId"] = parent;
    assert_eq!(of_ada.frame().await, expected);
    assert_eq!(other_of_ada.frame().await, expected);
    server.post(&url, &json!({ "on": false })).bearer(&bob.token).send().await.ok(200);
    assert_eq!(of_ada.frame().await, typing(room, &bob, 0));
    assert_eq!(other_of_ada.frame().await, typing(room, &bob, 0));
    // A signal has no number and moves no cursor: the next frame is the next event.
    of_ada.post(room, "that").await;
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        assert_eq!(client.expect("new_message").await["seq"], 4);
    }
    for client in [&mut of_ada, &mut other_of_ada, &mut of_bob] {
        client.quiet().await;
    }
}

async fn a_new_subscriber_is_shown_who_types(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    of_ada.send(json!({ "type": "typing", "roomId": room })).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    let mut seen = server.joined(room, &bob).await.frame().await;
    let left = seen["expiresInMs"].take().as_u64().unwrap();
    let mut expected = typing(room, &ada, 6_000);
    expected["expiresInMs"] = Value::Null;
    assert_eq!(seen, expected);
    assert!((1..=6_000).contains(&left), "{left}");
    server.joined(room, &ada).await.quiet().await;
    of_ada.post(room, "that").await;
    of_bob.expect("new_message").await;
    server.joined(room, &bob).await.quiet().await;
}

async fn rights_are_checked_each_time(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let stranger = server.user("eve").await;
    let mut of_bob = server.joined(room, &bob).await;
    let frame = |more: Value| {
        let mut frame = json!({ "type": "typing", "roomId": room });
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        frame
    };
    let only_reads = server.token(ada.id, json!({ "permissions": { "read": true } })).await;
    for (token, frame, code, field) in [
        (&stranger.token, frame(json!({})), "not_a_member", json!("roomId")),
        (&only_reads.token, frame(json!({})), "needs_write", Value::Null),
        (&ada.token, frame(json!({ "userId": bob.id })), "not_yourself", json!("userId")),
        (&ada.token, frame(json!({ "parentId": "none" })), "parent_not_found", json!("parentId")),
        (&ada.token, frame(json!({ "parentId": 7 })), "malformed", json!("parentId")),
        (&ada.token, frame(json!({ "on": "yes" })), "malformed", json!("on")),
        (&ada.token, frame(json!({ "roomId": "none" })), "not_a_member", json!("roomId")),
        (&ada.token, json!({ "type": "typing" }), "invalid", json!("roomId")),
    ] {
        let mut client = server.connect(token).await;
        let error = client.ask(frame.clone()).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &field), "{frame}");
    }
    let mut of_ada = server.connect(&ada.token).await;
    // A connection may send typing signals without having joined.
    of_ada.send(frame(json!({ "userId": ada.id }))).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    server.remove(room, &ada).await;
    of_bob.expect("member_left").await;
    assert_eq!(of_ada.ask(frame(json!({}))).await["code"], "not_a_member");
    of_bob.quiet().await;
}

async fn a_client_token_types_as_a_user(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let stranger = server.user("eve").await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let token = server.client_token.clone();
    let mut backend = server.connect(&token).await;
    let url = format!("/api/rooms/{room}/typing");
    backend.send(json!({ "type": "typing", "roomId": room, "userId": ada.id })).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    server.post(&format!("{url}?as={}", bob.id), &json!({})).client().send().await.ok(200);
    assert_eq!(started(of_ada.frame().await), typing(room, &bob, 6_000));
    // That user's rights count, not the backend's own.
    server.post(&format!("{url}?as={}", stranger.id), &json!({})).client().send().await.refused(403, "not_a_member");
    let nobody = RoomId::new(server.backend.clock.now());
    for nobody in [nobody.to_string(), "none".to_owned()] {
        let answer = server.post(&format!("{url}?as={nobody}"), &json!({})).client().send().await;
        answer.refused(404, "user_not_found");
        let error = backend.ask(json!({ "type": "typing", "roomId": room, "userId": nobody })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!("user_not_found"), &json!("userId")));
    }
    // In its own name it may type in any room, and others see its own user.
    backend.send(json!({ "type": "typing", "roomId": room })).await;
    for client in [&mut of_ada, &mut of_bob] {
        assert_eq!(client.frame().await["user"]["id"], json!(server.admin_id));
        client.quiet().await;
    }
}

async fn a_repeated_signal_is_not_sent_again(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.connect(&ada.token).await, server.joined(room, &bob).await);
    let parent = server.say(room, &bob, "what do you think?").await["id"].clone();
    of_bob.expect("new_message").await;
    let mut say = async |on: bool, parent: Value| {
        of_ada.send(json!({ "type": "typing", "roomId": room, "on": on, "parentId": parent })).await;
        of_ada.ask(json!({ "type": "ping" })).await;
    };
    say(true, Value::Null).await;
    say(true, Value::Null).await;
    say(true, parent).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    of_bob.quiet().await;
    server.backend.clock.advance(REPEATED);
    say(true, Value::Null).await;
    assert_eq!(started(of_bob.frame().await), typing(room, &ada, 6_000));
    // In many rooms at once, the rate limit applies.
    let mut rooms = Vec::new();
    for number in 0..10 {
        rooms.push(server.room(&format!("room {number}"), &ada).await);
    }
    server.backend.clock.advance(REPEATED);
    for room in rooms {
        of_ada.send(json!({ "type": "typing", "roomId": room })).await;
    }
    let error = of_ada.ask(json!({ "type": "typing", "roomId": room })).await;
    assert_eq!(
        (&error["code"], &error["retryable"], &error["retryAfterMs"]),
        (&json!("rate_limited"), &json!(true), &json!(100))
    );
    of_bob.quiet().await;
}

/// The removal is effective at once on the node that answers it, and on others even if no notification reaches them.
async fn a_removed_user_sends_and_receives_no_signals(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let elsewhere = elsewhere(&database).await;
    for here in [true, false] {
        // Ends what she typed before, so that nobody is shown it upon joining.
        server.say(room, &ada, "so").await;
        let eve = server.user(if here { "eve" } else { "eva" }).await;
        server.add(room, eve.id).await;
        let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
        let mut of_eve = server.joined(room, &eve).await;
        if here {
            server.remove(room, &eve).await;
        } else {
            let admin = elsewhere.store.user(server.admin_id).await.unwrap().unwrap();
            let caller = Caller::operator(UserRef::from(&admin), elsewhere.clock.now());
            let removal = ops::RemoveMember { room_id: room, user_id: eve.id };
            ops::remove_member(&elsewhere, &caller, removal).await.unwrap();
        }
        assert_eq!(of_eve.ask(json!({ "type": "typing", "roomId": room })).await["code"], "not_a_member");
        server.backend.clock.advance(REPEATED);
        of_ada.send(json!({ "type": "typing", "roomId": room })).await;
        let seen = of_bob.until("typing").await;
        assert_eq!(seen.iter().map(|frame| frame["type"].as_str().unwrap()).collect::<Vec<_>>(), ["member_left", "typing"]);
        let seen = of_eve.until("left").await;
        assert_eq!(seen.iter().map(|frame| frame["type"].as_str().unwrap()).collect::<Vec<_>>(), ["member_left", "left"]);
        of_eve.quiet().await;
    }
}

async fn a_slow_client_loses_signals_and_no_events(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.outbound_queue_bytes = 400_000)).await;
    let (room, ada, bob) = server.pair().await;
    let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room })).await;
    while raw.read().await.json()["type"] != "previous_messages" {}
    let mut of_ada = server.joined(room, &ada).await;
    let count = 20;
    server.fill(room, &ada, (0..count).map(|_| "x".repeat(12_000))).await;
    for _ in 0..count {
        of_ada.expect("new_message").await;
    }
    let eve = server.user("eve").await;
    server.add(room, eve.id).await;
    of_ada.expect("member_joined").await;
    let mut of_eve = server.connect(&eve.token).await;
    of_eve.send(json!({ "type": "typing", "roomId": room })).await;
    assert_eq!(of_ada.frame().await["type"], "typing");
    // It receives every event late, and no signal.
    let mut seen = 0;
    while seen < count + 1 {
        let frame = raw.read().await;
        if frame.first == TEXT {
            assert_ne!(frame.json()["type"], "typing");
            seen += 1;
        }
    }
    server.backend.clock.advance(REPEATED);
    of_eve.send(json!({ "type": "typing", "roomId": room })).await;
    assert_eq!(raw.read().await.json()["type"], "typing");
}

async fn signals_of_another_node_are_received(database: Arc<Database>) {
    let Some(nats) = nats().await else { return };
    let server = Server::start_with(&database, Setup { nats: Some(nats.url()), ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let (mut of_ada, mut of_bob) = (server.joined(room, &ada).await, server.joined(room, &bob).await);
    let clock = Arc::new(ManualClock::new(server.backend.clock.now()));
    let (other, _tasks) = elsewhere_on_a_bus(&database, &nats.url(), clock.clone()).await;
    // Both nodes may not be connected to NATS yet.
    let seen = loop {
        types_on(&other, room, &ada).await;
        if let Some(frame) = of_bob.within(Duration::from_millis(100)).await {
            break frame;
        }
        clock.advance(REPEATED);
    };
    assert_eq!(started(seen), typing(room, &ada, 6_000));
    of_ada.quiet().await;
    // The other node has removed a member. Its next signal waits until this node knows of that.
    let admin = other.store.user(server.admin_id).await.unwrap().unwrap();
    let caller = Caller::operator(UserRef::from(&admin), clock.now());
    let removal = ops::RemoveMember { room_id: room, user_id: bob.id };
    ops::remove_member(&other, &caller, removal).await.unwrap();
    clock.advance(REPEATED);
    types_on(&other, room, &ada).await;
    let seen = of_bob.until("left").await;
    assert!(seen.iter().all(|frame| frame["type"] != "typing"), "{seen:?}");
    of_bob.quiet().await;
    other.store.close().await;
}
