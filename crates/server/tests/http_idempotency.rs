//! Tests of repeated POSTs with `Idempotency-Key` or `clientMessageId`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{Answer, World, start};

fn replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn a_repeated_call_gets_the_same_answer() {
    let server = start().await;
    let world = World::new(&server).await;
    let messages = format!("/api/rooms/{}/messages", world.room);
    let members = format!("/api/rooms/{}/users", world.room);
    for (path, body) in [
        ("/api/users", json!({ "username": "again" })),
        ("/api/rooms", json!({ "name": "again" })),
        (messages.as_str(), json!({ "content": "again" })),
        (members.as_str(), json!({ "userId": world.stranger.id })),
        ("/api/tokens/user", json!({ "userId": world.member.id })),
        ("/api/tokens/client", json!({ "userId": world.member.id, "email": "a@b.example" })),
    ] {
        let call = |key: &str, body: &Value| server.post(path, body).client().key(key);
        let first = call("k-1", &body).send().await;
        assert!(first.status.is_success() && !replayed(&first), "{path}: {}", first.text());
        let second = call("k-1", &body).send().await;
        assert!(replayed(&second), "{path}");
        assert_eq!((second.status, second.json()), (first.status, first.json()), "{path}");
        let mut other = body.clone();
        other["more"] = json!(1);
        call("k-1", &other).send().await.refused(409, "idempotency_key_reused");
    }
    let said = server.get(&messages).client().send().await.ok(200);
    assert_eq!(said.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn twenty_at_once_do_it_once() {
    let server = start().await;
    let world = World::new(&server).await;
    let path = format!("/api/rooms/{}/messages", world.room);
    for (key, body) in
        [(Some("k-2"), json!({ "content": "at once" })), (None, json!({ "content": "at once", "clientMessageId": "m-2" }))]
    {
        let calls = (0..20).map(|_| {
            let call = server.post(&path, &body).bearer(&world.member.token);
            if let Some(key) = key { call.key(key) } else { call }.send()
        });
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| answer.status.as_u16() == 201 && answer.json() == answers[0].json()));
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    }
    assert_eq!(server.get(&path).client().send().await.ok(200).as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_client_message_id_belongs_to_an_author_and_a_room() {
    let server = start().await;
    let world = World::new(&server).await;
    let other = server.room("other", &world.owner).await;
    let post = |room: &dyn std::fmt::Display, token: &str, content: &str| {
        let body = json!({ "content": content, "clientMessageId": "m-1" });
        server.post(&format!("/api/rooms/{room}/messages"), &body).bearer(token).send()
    };
    let first = post(&world.room, &world.owner.token, "one").await;
    assert!(!replayed(&first));
    let again = post(&world.room, &world.owner.token, "one").await;
    assert!(replayed(&again));
    assert_eq!((again.status.as_u16(), again.json()), (201, first.json()));
    post(&world.room, &world.owner.token, "two").await.refused(409, "client_message_id_reused");
    assert!(!replayed(&post(&world.room, &world.member.token, "two").await));
    assert!(!replayed(&post(&other, &world.owner.token, "two").await));
}

#[tokio::test]
async fn a_key_has_a_scope() {
    let server = start().await;
    let world = World::new(&server).await;
    let post =
        |path: &str, token: &str| server.post(path, &json!({ "name": "scoped", "content": "x" })).bearer(token).key("k").send();
    let rooms = "/api/rooms";
    assert!(!replayed(&post(rooms, &world.owner.token).await));
    assert!(!replayed(&post(rooms, &world.member.token).await), "another user");
    assert!(!replayed(&post(rooms, &server.client_token).await), "a backend");
    assert!(!replayed(&post(&format!("/api/rooms/{}/messages", world.room), &world.owner.token).await), "another path");
    assert!(replayed(&post(rooms, &world.owner.token).await));
    // The same user calls with another of its tokens.
    let token = server.token(world.owner.id, json!({})).await;
    assert!(replayed(&post(rooms, &token.token).await));
}

#[tokio::test]
async fn a_replayed_token_works() {
    let server = start().await;
    let ada = server.user("ada").await;
    let call = || server.post("/api/tokens/user", &json!({ "userId": ada.id })).bearer(&ada.token).key("k");
    let (first, second) = (call().send().await.ok(201), call().send().await.ok(201));
    assert_eq!(first["token"], second["token"]);
    server.get("/api/auth/profile").bearer(second["token"].as_str().unwrap()).send().await.ok(200);
}

/// A key belongs to a user, and rights belong to a token. A token that repeats a call of another token of the same user must
/// not get the minted token. That may have more rights; and with equal rights it would stay valid after its own token is
/// revoked.
#[tokio::test]
async fn a_replay_gives_no_token_with_more_rights() {
    let server = start().await;
    let ada = server.user("ada").await;
    let mint = |token: &str| server.post("/api/tokens/user", &json!({ "userId": ada.id })).bearer(token).key("k").send();
    let first = mint(&ada.token).await.ok(201);
    for more in [json!({ "permissions": { "read": true, "write": true } }), json!({ "expiresIn": "1h" }), json!({})] {
        let other = server.token(ada.id, more).await;
        mint(&other.token).await.refused(403, "more_rights_than_own");
    }
    assert_eq!(mint(&ada.token).await.ok(201), first);
}

/// Creating a user mints a token. Another token of the same ADMIN, or of the same backend, that repeats the call does not get
/// it.
#[tokio::test]
async fn a_replay_hands_a_new_users_token_to_its_maker_alone() {
    let server = start().await;
    let admin = server.user_as("boss", "ADMIN").await;
    let sibling = server.token(admin.id, json!({})).await.token;
    let body = json!({ "userId": server.admin_id, "email": "b@b.example" });
    let backend = server.post("/api/tokens/client", &body).client().send().await.ok(201);
    let backend = backend["token"].as_str().unwrap().to_owned();
    for (number, (first, second)) in [(&admin.token, &sibling), (&server.client_token, &backend)].into_iter().enumerate() {
        for (path, body) in [
            ("/api/users", json!({ "username": format!("user {number}"), "role": "ADMIN" })),
            ("/api/tokens/user", json!({ "userId": admin.id })),
        ] {
            let call = |token: &str| server.post(path, &body).bearer(token).key("k").send();
            let made = call(first).await.ok(201);
            let refused = call(second).await;
            assert!(!refused.text().contains("eyJ"), "a token");
            refused.refused(403, "more_rights_than_own");
            assert_eq!(call(first).await.ok(201), made, "{path}");
        }
    }
    // An answer without a token is replayed to any token of the user, as after a new login.
    let room = |token: &str| server.post("/api/rooms", &json!({ "name": "lobby" })).bearer(token).key("r").send();
    let made = room(&admin.token).await.ok(201);
    let again = room(&sibling).await;
    assert!(replayed(&again));
    assert_eq!(again.ok(201), made);
}

/// A caller that has lost the right gets no replay of the earlier answer.
#[tokio::test]
async fn a_caller_without_the_right_gets_no_replay() {
    let server = start().await;
    let world = World::new(&server).await;
    let members = format!("/api/rooms/{}/users", world.room);
    let add = || server.post(&members, &json!({ "userId": world.stranger.id })).bearer(&world.owner.token).key("k").send();
    add().await.ok(200);
    assert!(replayed(&add().await));
    server.delete(&format!("{members}/{}", world.owner.id)).client().send().await.ok(200);
    add().await.refused(403, "not_a_member");
    let make = || server.post("/api/users", &json!({ "username": "made" })).bearer(&world.admin.token).key("k").send();
    make().await.ok(201);
    let path = format!("/api/users/{}", world.admin.id);
    server.call("PATCH", &path).json(&json!({ "role": "MEMBER" })).client().send().await.ok(200);
    make().await.refused(403, "client_token_required");
}

#[tokio::test]
async fn failures_are_not_stored() {
    let server = start().await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let room = server.room("lobby", &ada).await;
    let post = || server.post(&format!("/api/rooms/{room}/messages"), &json!({ "content": "x" })).bearer(&bob.token).key("k");
    post().send().await.refused(403, "not_a_member");
    server.add(room, bob.id).await;
    assert!(!replayed(&post().send().await));
}

#[tokio::test]
async fn a_key_has_1_to_128_visible_characters() {
    let server = start().await;
    for (number, key) in ["x", "~!", &"k".repeat(128)].into_iter().enumerate() {
        let body = json!({ "username": format!("user {number}") });
        server.post("/api/users", &body).client().key(key).send().await.ok(201);
    }
    for key in ["", "a b", "ü", &"k".repeat(129)] {
        server.post("/api/users", &json!({ "username": "bad" })).client().key(key).send().await.invalid("Idempotency-Key");
    }
    let twice = server.post("/api/users", &json!({ "username": "bad" })).client().key("a").key("b");
    twice.send().await.invalid("Idempotency-Key");
}
