//! Tests of the effect of changed rights on open connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatsphere_core::ops::ChangeUser;
use chatsphere_core::{Caller, Role, UserRef, ops};
use serde_json::{Value, json};

use crate::client::Client;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT};
use crate::server::{Server, Setup, elsewhere};
use crate::support::Person;

on_every_database!(
    a_revoked_token_ends_its_connections_before_the_call_returns,
    the_children_of_a_revoked_token_end_with_it,
    a_disabled_users_connections_are_closed_at_once,
    a_demoted_admin_keeps_only_the_rooms_of_a_member,
    a_promoted_member_may_join_any_room,
    a_demotion_and_a_removal_together_leave_no_subscription,
    a_token_for_some_rooms,
    a_token_with_read_only,
    a_newer_token_with_fewer_rights_leaves_rooms,
    an_expired_token_ends_its_connection,
    a_change_by_another_process_is_effective_within_a_second,
    a_node_that_cannot_read_the_control_log_rejects_frames,
    a_demotion_ends_a_replay_under_way,
    a_token_revoked_during_authentication_opens_nothing,
    a_token_revoked_during_reauthentication_ends_the_connection,
);

async fn revoke(server: &Server, token: &Person) {
    server.delete(&format!("/api/tokens/{}", token.token_id)).client().send().await.ok(200);
}

/// Asserts that the connection's next frames are this error and this close.
async fn ended(client: &mut Client, code: &str, close: u16) {
    let begun = Instant::now();
    client.refused(code).await;
    assert_eq!(client.closed(close).await, code);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

async fn a_revoked_token_ends_its_connections_before_the_call_returns(database: Arc<Database>) {
    // The control log is not polled, so only the call itself can close the connections.
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let other = server.token(ada.id, json!({})).await;
    for by in ["DELETE", "PUT"] {
        let token = server.token(ada.id, json!({})).await;
        let mut theirs = [server.connect(&token.token).await, server.connect(&token.token).await];
        let mut unaffected = [server.connect(&other.token).await, server.connect(&bob.token).await];
        for client in theirs.iter_mut().chain(&mut unaffected) {
            client.join(room, json!({})).await;
        }
        let path = format!("/api/tokens/{}{}", token.token_id, if by == "PUT" { "/revoke" } else { "" });
        server.call(by, &path).client().send().await.ok(200);
        // This is posted after the call returned, so it must not arrive.
        server.say(room, &bob, "after").await;
        for client in &mut theirs {
            ended(client, "token_revoked", 4501).await;
        }
        for client in &mut unaffected {
            client.expect("new_message").await;
            client.quiet().await;
        }
        let mut again = Client::open(server.addr, &format!("/ws?token={}", token.token), &[]).await;
        ended(&mut again, "token_revoked", 4501).await;
    }
}

async fn the_children_of_a_revoked_token_end_with_it(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let ada = server.user("ada").await;
    let mut tokens = vec![ada.token.clone()];
    for _ in 0..3 {
        let body = json!({ "userId": ada.id });
        let minted = server.post("/api/tokens/user", &body).bearer(tokens.last().unwrap()).send().await.ok(201);
        tokens.push(minted["token"].as_str().unwrap().to_owned());
    }
    let mut clients = Vec::new();
    for token in &tokens {
        clients.push(server.connect(token).await);
    }
    let mut apart = server.connect(&server.token(ada.id, json!({})).await.token).await;
    revoke(&server, &ada).await;
    for client in &mut clients {
        ended(client, "token_revoked", 4501).await;
    }
    apart.quiet().await;
}

async fn change(server: &Server, person: &Person, body: Value) {
    server.call("PATCH", &format!("/api/users/{}", person.id)).client().json(&body).send().await.ok(200);
}

async fn a_disabled_users_connections_are_closed_at_once(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let second = server.token(ada.id, json!({})).await;
    let mut clients = [server.connect(&ada.token).await, server.connect(&second.token).await];
    let mut other = server.connect(&bob.token).await;
    other.join(room, json!({})).await;
    change(&server, &ada, json!({ "disabled": true })).await;
    for client in &mut clients {
        ended(client, "user_disabled", 4501).await;
    }
    change(&server, &ada, json!({ "disabled": false })).await;
    server.connect(&ada.token).await.quiet().await;
    other.quiet().await;
}

async fn a_demoted_admin_keeps_only_the_rooms_of_a_member(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let boss = server.user_as("boss", "ADMIN").await;
    let own = server.room("own", &boss).await;
    let mut client = server.connect(&boss.token).await;
    client.join(room, json!({})).await;
    client.join(own, json!({})).await;
    change(&server, &boss, json!({ "role": "MEMBER" })).await;
    server.say(room, &ada, "not for the boss").await;
    assert_eq!(client.frame().await, json!({ "type": "left", "roomId": room, "reason": "rights_changed" }));
    assert_eq!(client.ask(json!({ "type": "join", "roomId": room })).await["code"], "not_a_member");
    client.post(own, "still here").await;
    assert_eq!(client.expect("new_message").await["roomId"], json!(own));
    // It is still subscribed, now with a member's rights: a removal ends the subscription.
    server.add(own, bob.id).await;
    client.expect("member_joined").await;
    server.remove(own, &boss).await;
    client.expect("member_left").await;
    assert_eq!(client.expect("left").await["reason"], "removed");
    client.quiet().await;
}

async fn a_promoted_member_may_join_any_room(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, bob) = server.pair().await;
    let eve = server.user("eve").await;
    let mut client = server.connect(&eve.token).await;
    let mut member = server.connect(&bob.token).await;
    member.join(room, json!({})).await;
    assert_eq!(client.ask(json!({ "type": "join", "roomId": room })).await["code"], "not_a_member");
    for person in [&eve, &bob] {
        change(&server, person, json!({ "role": "ADMIN" })).await;
    }
    client.join(room, json!({})).await;
    server.say(room, &ada, "x").await;
    client.expect("new_message").await;
    member.expect("new_message").await;
    server.remove(room, &bob).await;
    member.expect("member_left").await;
    server.say(room, &ada, "an ADMIN hears all").await;
    member.expect("new_message").await;
}

async fn a_demotion_and_a_removal_together_leave_no_subscription(database: Arc<Database>) {
    let server = Arc::new(Server::start(&database).await);
    let (room, ada, _) = server.pair().await;
    let mut witness = server.connect(&ada.token).await;
    witness.join(room, json!({})).await;
    for round in 0..40 {
        let boss = server.user_as(&format!("boss {round}"), "ADMIN").await;
        server.add(room, boss.id).await;
        let mut client = server.connect(&boss.token).await;
        client.join(room, json!({})).await;
        tokio::join!(change(&server, &boss, json!({ "role": "MEMBER" })), server.remove(room, &boss));
        for _ in 0..2 {
            let seq = server.say(room, &ada, "secret").await["seq"].clone();
            while witness.frame().await["seq"] != seq {}
        }
        let frames = client.drain().await;
        let left = frames.iter().position(|frame| frame["type"] == "left").expect("no `left`");
        assert!(frames[left..].iter().all(|frame| frame["type"] == "left"), "round {round}: {frames:?}");
    }
}

async fn a_token_for_some_rooms(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let other = server.room("other", &ada).await;
    let permissions = json!({ "permissions": { "read": true, "write": true, "rooms": [room] } });
    let mut client = server.connect(&server.token(ada.id, permissions).await.token).await;
    client.join(room, json!({})).await;
    client.post(room, "x").await;
    client.expect("new_message").await;
    for frame in [json!({ "type": "join", "roomId": other }), json!({ "type": "message", "roomId": other, "content": "x" })] {
        assert_eq!(client.ask(frame).await["code"], "not_a_member");
    }
    let none = json!({ "permissions": { "read": true, "write": true, "rooms": [] } });
    let mut client = server.connect(&server.token(bob.id, none).await.token).await;
    assert_eq!(client.ask(json!({ "type": "join", "roomId": room })).await["code"], "not_a_member");
    // The rooms of the permissions restrict an ADMIN's token, too.
    let boss = server.user_as("boss", "ADMIN").await;
    let permissions = json!({ "permissions": { "read": true, "rooms": [room] } });
    let mut client = server.connect(&server.token(boss.id, permissions).await.token).await;
    client.join(room, json!({})).await;
    for id in [other.to_string(), "x".to_owned()] {
        assert_eq!(client.ask(json!({ "type": "join", "roomId": id })).await["code"], "not_a_member");
    }
}

async fn a_token_with_read_only(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let reader = server.token(ada.id, json!({ "permissions": { "read": true } })).await;
    let mut client = server.connect(&reader.token).await;
    client.join(room, json!({})).await;
    let message = json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c" });
    let error = client.ask(message).await;
    assert_eq!(
        (&error["code"], &error["clientMessageId"], &error["retryable"]),
        (&json!("needs_write"), &json!("c"), &json!(false))
    );
    server.say(room, &bob, "heard").await;
    client.expect("new_message").await;
}

async fn a_newer_token_with_fewer_rights_leaves_rooms(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let other = server.room("other", &ada).await;
    let permissions = json!({ "permissions": { "read": true, "rooms": [other] } });
    let weaker = server.token(ada.id, permissions).await;
    let mut client = server.connect(&ada.token).await;
    client.join(room, json!({})).await;
    client.join(other, json!({})).await;
    client.send(json!({ "type": "auth", "token": weaker.token })).await;
    assert_eq!(client.frame().await, json!({ "type": "left", "roomId": room, "reason": "rights_changed" }));
    client.expect("auth_ok").await;
    server.say(room, &bob, "unheard").await;
    server.say(other, &ada, "heard").await;
    assert_eq!(client.expect("new_message").await["message"]["content"], "heard");
    assert_eq!(client.ask(json!({ "type": "message", "roomId": other, "content": "x" })).await["code"], "needs_write");
    client.quiet().await;
}

async fn an_expired_token_ends_its_connection(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::times(|times| times.look = Duration::from_millis(20))).await;
    let (_, ada, bob) = server.pair().await;
    let brief = server.token(ada.id, json!({ "expiresIn": "90s" })).await;
    let mut clients = [server.connect(&brief.token).await, server.connect(&brief.token).await];
    let mut other = server.connect(&bob.token).await;
    server.advance(Duration::from_millis(89_526)).await;
    for client in &mut clients {
        client.quiet().await;
    }
    server.advance(Duration::from_millis(1)).await;
    for client in &mut clients {
        ended(client, "token_expired", 4001).await;
    }
    other.quiet().await;

    // A frame that arrives before the server has checked for expiry is rejected, too.
    let server =
        Server::start_with(&database_beside(&database), Setup::times(|times| times.look = Duration::from_secs(3_600))).await;
    let (room, ada, _) = server.pair().await;
    let brief = server.token(ada.id, json!({ "expiresIn": "90s" })).await;
    let mut client = server.connect(&brief.token).await;
    server.advance(Duration::from_secs(90)).await;
    client.send(json!({ "type": "message", "roomId": room, "content": "too late" })).await;
    ended(&mut client, "token_expired", 4001).await;
    assert_eq!(server.events(room).await.len(), 2);
}

/// Makes another database for the same test, for a part that does not depend on the database.
fn database_beside(database: &Database) -> Arc<Database> {
    let text = format!("sqlite:{}", database.directory.path().join("beside.db").display());
    Arc::new(Database { url: text.parse().unwrap(), text, directory: tempfile::tempdir().unwrap() })
}

async fn a_change_by_another_process_is_effective_within_a_second(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let boss = server.user_as("boss", "ADMIN").await;
    let eve = server.user("eve").await;
    let mut clients = [server.connect(&ada.token).await, server.connect(&boss.token).await, server.connect(&eve.token).await];
    clients[1].join(room, json!({})).await;

    let other = elsewhere(&database).await;
    let admin = other.store.user(server.admin_id).await.unwrap().unwrap();
    let operator = Caller::operator(UserRef::from(&admin), other.clock.now());
    let begun = Instant::now();
    ops::revoke_token(&other, &operator, ada.token_id.parse().unwrap()).await.unwrap();
    let demoted = ChangeUser { user_id: boss.id, role: Some(Role::Member), disabled: None };
    ops::change_user(&other, &operator, demoted).await.unwrap();
    let disabled = ChangeUser { user_id: eve.id, role: None, disabled: Some(true) };
    ops::change_user(&other, &operator, disabled).await.unwrap();

    let [revoked, demoted, disabled] = &mut clients;
    ended(revoked, "token_revoked", 4501).await;
    assert_eq!(demoted.frame().await, json!({ "type": "left", "roomId": room, "reason": "rights_changed" }));
    ended(disabled, "user_disabled", 4501).await;
    assert!(begun.elapsed() < Duration::from_secs(1) || cfg!(debug_assertions), "{:?}", begun.elapsed());
    server.connect(&bob.token).await.quiet().await;
    other.store.close().await;
}

async fn a_node_that_cannot_read_the_control_log_rejects_frames(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup { follows_control_log: false, ..Setup::default() }).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    server.backend.clock.advance(Duration::from_millis(10_001));
    for frame in [
        json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c" }),
        json!({ "type": "join", "roomId": room, "clientMessageId": "c" }),
    ] {
        let error = client.ask(frame.clone()).await;
        let expected = json!({
            "type": "error", "code": "authority_stale", "message": error["message"], "roomId": room,
            "retryable": true, "retryAfterMs": 1_000, "ref": error["ref"],
        });
        let mut expected = expected;
        if frame["type"] == "message" {
            expected["clientMessageId"] = json!("c");
        }
        assert_eq!(error, expected);
    }
    let answer = server.get("/ws").bearer(&ada.token).header("connection", "upgrade").header("upgrade", "websocket");
    let answer = answer.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    answer.send().await.refused(503, "authority_stale");
    server.expect_faults(1);
    let mut page = Client::open(server.addr, &format!("/ws?token={}", ada.token), &[]).await;
    assert_eq!(page.refused("authority_stale").await["retryable"], true);
    page.closed(1013).await;
    // The log can be read again.
    server.advance(Duration::ZERO).await;
    client.post(room, "x").await;
}

async fn a_token_revoked_during_authentication_opens_nothing(database: Arc<Database>) {
    let server = Arc::new(Server::start(&database).await);
    let ada = server.user("ada").await;
    for _ in 0..30 {
        let token = server.token(ada.id, json!({})).await;
        let path = format!("/ws?token={}", token.token);
        let (mut client, ()) = tokio::join!(Client::open(server.addr, &path, &[]), revoke(&server, &token));
        let (frames, code) = client.until_closed().await;
        assert_eq!((code, &frames.last().unwrap()["code"]), (4501, &json!("token_revoked")));
    }
}

async fn a_token_revoked_during_reauthentication_ends_the_connection(database: Arc<Database>) {
    let server = Arc::new(Server::start(&database).await);
    let ada = server.user("ada").await;
    for _ in 0..60 {
        let token = server.token(ada.id, json!({})).await;
        let mut client = server.connect(&ada.token).await;
        let auth = client.send(json!({ "type": "auth", "token": token.token, "ref": "again" }));
        tokio::join!(auth, revoke(&server, &token));
        let answer = client.frame().await;
        match (answer["type"].as_str(), answer["ref"].as_str()) {
            // The token was accepted, and then revoked.
            (Some("auth_ok"), _) => ended(&mut client, "token_revoked", 4501).await,
            // The token was rejected: the connection keeps the token that it has.
            (Some("error"), Some(_)) => {
                assert_eq!(answer["code"], "token_revoked");
                client.quiet().await;
            }
            // The token was revoked before the answer was sent.
            _ => {
                assert_eq!(answer["code"], "token_revoked");
                client.closed(4501).await;
            }
        }
    }
}

async fn a_demotion_ends_a_replay_under_way(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    for _ in 0..10 {
        server.fill(room, &ada, (0..100).map(|_| "x".repeat(30 * 1024))).await;
    }
    let boss = server.user_as("boss", "ADMIN").await;
    let mut raw = Raw::connect_narrow(server.addr, &boss.token).await;
    raw.send(&json!({ "type": "join", "roomId": room, "since": 0 })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    change(&server, &boss, json!({ "role": "MEMBER" })).await;
    // Frames in the socket's queue may still arrive. Of the 30 MB, the rest must not.
    let mut bytes = 0;
    loop {
        let frame = raw.read().await;
        if frame.first != TEXT {
            continue;
        }
        let frame = frame.json();
        if frame["type"] == "left" {
            assert_eq!(frame["reason"], "rights_changed");
            break;
        }
        bytes += frame.to_string().len();
    }
    assert!(bytes < 16 * 1024 * 1024, "{bytes}");
}
