//! Tests of each call's success, with the bodies that clients rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use chatsphere_core::store::UserChange;
use chatsphere_core::{Actor, Username};
use serde_json::{Value, json};
use support::{World, start};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn users_are_created_listed_and_changed() {
    let server = start().await;
    let made = server.post("/api/users", &json!({ "username": "ada" })).client().send().await.ok(201);
    assert_eq!(keys(&made), ["expiresAt", "token", "tokenId", "user"]);
    assert_eq!(keys(&made["user"]), ["id", "role", "username"]);
    assert_eq!(made["user"]["role"], "MEMBER");
    assert_eq!(made["expiresAt"], "2026-11-29T09:56:10.000Z");
    server.post("/api/users", &json!({ "username": "ada" })).client().send().await.refused(409, "username_taken");

    let users = server.get("/api/users").client().send().await.ok(200);
    let names: Vec<&Value> = users.as_array().unwrap().iter().map(|user| &user["username"]).collect();
    assert_eq!(names, ["admin", "ada"]);
    assert_eq!(keys(&users[1]), ["createdAt", "disabled", "id", "role", "updatedAt", "username"]);

    let path = format!("/api/users/{}", made["user"]["id"].as_str().unwrap());
    let token = made["token"].as_str().unwrap();
    let changed = server.call("PATCH", &path).json(&json!({ "role": "MODERATOR" })).client().send().await.ok(200);
    assert_eq!(changed["role"], "MODERATOR");
    assert_eq!(server.get("/api/auth/profile").bearer(token).send().await.ok(200)["user"]["role"], "MODERATOR");
    server.call("PATCH", &path).json(&json!({ "disabled": true })).client().send().await.ok(200);
    server.get("/api/auth/profile").bearer(token).send().await.refused(401, "user_disabled");
    server.call("PATCH", &path).json(&json!({ "disabled": false })).client().send().await.ok(200);
    let same = server.call("PATCH", &path).json(&json!({ "role": "MODERATOR" })).client().send().await.ok(200);
    assert_eq!((&same["role"], &same["disabled"]), (&json!("MODERATOR"), &json!(false)));
}

#[tokio::test]
async fn a_user_renames_itself() {
    let server = start().await;
    let (ada, _) = (server.user("ada").await, server.user("bob").await);
    let profile = server.get("/api/auth/profile").bearer(&ada.token).send().await.ok(200);
    assert_eq!(profile, json!({ "user": { "id": ada.id, "username": "ada", "role": "MEMBER" } }));
    let put = |name: &str| server.call("PUT", "/api/auth/profile").json(&json!({ "username": name })).bearer(&ada.token);
    let changed = put("ada lovelace").send().await.ok(200);
    assert_eq!(changed["user"]["username"], "ada lovelace");
    assert!(changed["message"].is_string());
    put("bob").send().await.refused(409, "username_taken");
    let profile = server.get("/api/auth/profile").bearer(&ada.token).send().await.ok(200);
    assert_eq!(profile["user"]["username"], "ada lovelace");
}

#[tokio::test]
async fn names_are_compared_by_their_keys() {
    let server = start().await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let make = |name: &str| server.post("/api/users", &json!({ "username": name })).client();
    let rename = |name: &str| server.call("PUT", "/api/auth/profile").json(&json!({ "username": name })).bearer(&bob.token);
    for name in ["Ada", "ａｄａ", "ADA", "Admin", "ADMIN", "ａｄｍｉｎ", "аdmin", "аdmіn", "admın", "adrnin", "𝐚𝐝𝐦𝐢𝐧"]
    {
        make(name).send().await.refused(409, "username_taken");
        rename(name).send().await.refused(409, "username_taken");
    }
    for blank in
        ["ada ", " ada", "admin\u{2002}", "ada\u{a0}", "ada\u{3000}", "\u{2800}", "\u{3164}", "ada\u{200b}", "\u{301}ada"]
    {
        make(blank).send().await.invalid("username");
        rename(blank).send().await.invalid("username");
        server.post("/api/rooms", &json!({ "name": blank })).bearer(&bob.token).send().await.invalid("name");
    }
    // A user may change the spelling of its own name.
    let own = server.call("PUT", "/api/auth/profile").json(&json!({ "username": "Ada" })).bearer(&ada.token);
    assert_eq!(own.send().await.ok(200)["user"]["username"], "Ada");

    // The names of ordinary users may look alike, until one of them gets rights over others. The o of this name is Cyrillic.
    let twin = server.user("bоb").await;
    let patch = |user, body: Value| server.call("PATCH", &format!("/api/users/{user}")).json(&body).client();
    patch(bob.id, json!({ "role": "MODERATOR" })).send().await.refused(409, "username_lookalike");
    let client = json!({ "userId": twin.id, "email": "a@b.example" });
    server.post("/api/tokens/client", &client).client().send().await.refused(409, "username_lookalike");
    patch(twin.id, json!({ "username": "robert" })).send().await.ok(200);
    patch(bob.id, json!({ "role": "MODERATOR" })).send().await.ok(200);
    patch(twin.id, json!({ "username": "bоb", "role": "ADMIN" })).send().await.refused(409, "username_taken");
    assert_eq!(server.get(&format!("/api/users/{}", twin.id)).client().send().await.ok(200)["role"], "MEMBER");
}

#[tokio::test]
async fn a_name_older_than_a_rule_stays() {
    let server = start().await;
    let ada = server.user("ada").await;
    let chat = &server.backend.chat;
    let before = |username: &str| UserChange {
        user_id: ada.id,
        username: Some(Username::from_stored(username.to_owned())),
        role: None,
        disabled: None,
        actor: Actor::Operator,
        at: chat.clock.now(),
    };
    chat.store.submit(before("ada ")).await.unwrap();
    chat.authority.poll(&*chat.store).await.unwrap();
    let put = |name: &str| server.call("PUT", "/api/auth/profile").json(&json!({ "username": name })).bearer(&ada.token);
    assert_eq!(put("ada ").send().await.ok(200)["user"]["username"], "ada ");
    put("ada  ").send().await.invalid("username");
    let found = server.get("/api/users?username=ada+").client().send().await.ok(200);
    assert_eq!(found[0]["id"], json!(ada.id));
    assert_eq!(put("ada").send().await.ok(200)["user"]["username"], "ada");
}

#[tokio::test]
async fn a_user_is_found_by_name_and_by_id() {
    let server = start().await;
    let (ada, bob) = (server.user("Ada Lovelace").await, server.user("bob").await);
    let by_name = async |name: &str| server.get(&format!("/api/users?username={name}")).client().send().await.ok(200);
    let found = by_name("Ada%20Lovelace").await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(ada.id)));
    assert_eq!(keys(&found[0]), ["createdAt", "disabled", "id", "role", "updatedAt", "username"]);
    for none in ["ada%20lovelace", "Ada", "", "%00", "bob%20"] {
        assert_eq!(by_name(none).await, json!([]), "{none}");
    }
    server.get("/api/users?username=bob&username=ada").client().send().await.invalid("username");
    server.get("/api/users?username=bob").bearer(&bob.token).send().await.refused(403, "client_token_required");

    let path = |user| format!("/api/users/{user}");
    assert_eq!(server.get(&path(ada.id)).client().send().await.ok(200), found[0]);
    assert_eq!(server.get(&path(ada.id)).bearer(&ada.token).send().await.ok(200), found[0]);
    server.get(&path(ada.id)).bearer(&bob.token).send().await.refused(403, "client_token_required");
    for nobody in ["x", "0198c0de-7c1a-7000-8000-0123456789ab"] {
        server.get(&format!("/api/users/{nobody}")).client().send().await.refused(404, "user_not_found");
        server.get(&format!("/api/users/{nobody}")).bearer(&bob.token).send().await.refused(403, "client_token_required");
    }
}

#[tokio::test]
async fn a_user_is_put_by_the_applications_own_id() {
    let server = start().await;
    let put = |id: &str, body: Value| server.call("PUT", &format!("/api/users/external/{id}")).json(&body);
    let made = put("auth0%7C5f%2F7", json!({ "username": "ada" })).client().send().await.ok(201);
    assert_eq!(keys(&made), ["user"]);
    assert_eq!((&made["user"]["externalId"], &made["user"]["username"]), (&json!("auth0|5f/7"), &json!("ada")));
    let again = put("auth0%7C5f%2F7", json!({ "username": "ada" })).client().send().await.ok(200);
    assert_eq!(again, made);
    let changed = put("auth0%7C5f%2F7", json!({ "username": "Countess", "role": "MODERATOR" })).client().send().await.ok(200);
    assert_eq!((&changed["user"]["id"], &changed["user"]["role"]), (&made["user"]["id"], &json!("MODERATOR")));

    let wish = json!({ "token": { "expiresIn": "1h", "permissions": { "read": true } } });
    let with_token = put("auth0%7C5f%2F7", wish.clone()).client().send().await.ok(200);
    assert_eq!(keys(&with_token), ["expiresAt", "token", "tokenId", "user"]);
    assert_eq!(with_token["expiresAt"], "2026-11-22T10:56:10.000Z");
    let token = with_token["token"].as_str().unwrap();
    let path = format!("/api/users/{}", made["user"]["id"].as_str().unwrap());
    let own = server.get(&path).bearer(token).send().await.ok(200);
    assert_eq!((&own["username"], &own["externalId"]), (&json!("Countess"), &Value::Null));
    assert_eq!(server.get(&path).client().send().await.ok(200)["externalId"], "auth0|5f/7");
    server
        .call("PUT", "/api/auth/profile")
        .json(&json!({ "username": "x" }))
        .bearer(token)
        .send()
        .await
        .refused(403, "needs_write");
    // Each call mints a new token.
    assert_ne!(put("auth0%7C5f%2F7", wish.clone()).client().send().await.ok(200)["tokenId"], with_token["tokenId"]);

    put("2", json!({ "username": "countess" })).client().send().await.refused(409, "username_taken");
    put("2", json!({ "username": " bob" })).client().send().await.invalid("username");
    put("2", json!({ "role": "MEMBER" })).client().send().await.invalid("username");
    put("2", json!({})).client().send().await.invalid("username");
    put("2", json!({ "username": "bob", "token": { "expiresIn": "7" } })).client().send().await.invalid("token.expiresIn");
    for bad in ["a%0Ab", "%00", &"x".repeat(129), &"%C3%A9".repeat(65)] {
        put(bad, json!({ "username": "bob" })).client().send().await.invalid("externalId");
    }
    // An ADMIN creates and changes users, but gets no token of an existing user.
    let boss = server.user_as("boss", "ADMIN").await;
    put("2", json!({ "username": "bob", "token": {} })).bearer(&boss.token).send().await.ok(201);
    put("2", json!({ "username": "bobby", "token": {} }))
        .bearer(&boss.token)
        .send()
        .await
        .refused(403, "client_token_required");
    let changed = put("2", json!({ "username": "bobby" })).bearer(&boss.token).send().await.ok(200);
    assert_eq!(changed["user"]["username"], "bobby");
    let listed = server.get("/api/users?username=bobby").bearer(&boss.token).send().await.ok(200);
    assert_eq!(listed[0]["externalId"], "2");
}

#[tokio::test]
async fn rooms_have_members_and_messages() {
    let server = start().await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let room = server.post("/api/rooms", &json!({ "name": "lobby" })).bearer(&ada.token).send().await.ok(201);
    assert_eq!(keys(&room), ["_count", "createdAt", "id", "name", "seq", "updatedAt"]);
    assert_eq!(room["_count"], json!({ "messages": 0, "users": 1 }));
    let path = format!("/api/rooms/{}", room["id"].as_str().unwrap());

    let add = || server.post(&format!("{path}/users"), &json!({ "userId": bob.id })).bearer(&ada.token);
    for _ in 0..2 {
        assert_eq!(add().send().await.ok(200), json!({ "message": "User added to room successfully" }));
    }
    let shown = server.get(&path).bearer(&bob.token).send().await.ok(200);
    let both = json!([{ "id": ada.id, "username": "ada" }, { "id": bob.id, "username": "bob" }]);
    assert_eq!((&shown["users"], &shown["_count"]["users"], &shown["seq"]), (&both, &json!(2), &json!(2)));
    assert_eq!(server.get(&format!("{path}/users")).bearer(&bob.token).send().await.ok(200), both);

    let body = json!({ "content": "hello", "clientMessageId": "m-1" });
    let said = server.post(&format!("{path}/messages"), &body).bearer(&bob.token).send().await.ok(201);
    let fields = ["clientMessageId", "content", "createdAt", "id", "roomId", "seq", "updatedAt", "user", "userId"];
    assert_eq!(keys(&said), fields);
    assert_eq!((&said["seq"], &said["user"]["username"], &said["roomId"]), (&json!(3), &json!("bob"), &room["id"]));
    assert_eq!(server.get(&format!("{path}/messages")).bearer(&ada.token).send().await.ok(200), json!([said]));

    let events = server.get(&format!("{path}/events")).bearer(&ada.token).send().await.ok(200);
    let kinds: Vec<&Value> = events.as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["member_joined", "member_joined", "new_message"]);
    assert_eq!(events[2]["message"], said);

    let of_bob = server.get(&format!("/api/users/{}/messages", bob.id)).bearer(&bob.token).send().await.ok(200);
    let (made, changed) = (&room["createdAt"], &room["updatedAt"]);
    assert_eq!(of_bob[0]["room"], json!({ "id": room["id"], "name": "lobby", "createdAt": made, "updatedAt": changed }));
    assert_eq!(of_bob[0]["user"]["username"], "bob");
    assert_eq!(server.get("/api/messages/user").bearer(&bob.token).send().await.ok(200), of_bob);
    assert_eq!(server.get(&format!("/api/messages/user?userId={}", bob.id)).client().send().await.ok(200), of_bob);
    assert_eq!(server.get("/api/messages").client().send().await.ok(200), of_bob);
    assert_eq!(server.get("/api/messages/user").client().send().await.ok(200), json!([]));

    let rooms = server.get("/api/rooms").bearer(&bob.token).send().await.ok(200);
    assert_eq!(rooms[0]["_count"], json!({ "messages": 1, "users": 2 }));

    let leave = || server.delete(&format!("{path}/users/{}", bob.id));
    let removed = json!({ "message": "User removed from room successfully" });
    assert_eq!(leave().bearer(&bob.token).send().await.ok(200), removed);
    assert_eq!(leave().bearer(&ada.token).send().await.ok(200), removed);
    server.get(&path).bearer(&bob.token).send().await.refused(403, "not_a_member");
    assert_eq!(server.get("/api/messages/user").bearer(&bob.token).send().await.ok(200), json!([]));
}

#[tokio::test]
async fn a_client_token_acts_for_any_user() {
    let server = start().await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let body = json!({ "name": "lobby", "userId": ada.id });
    let room = server.post("/api/rooms", &body).client().send().await.ok(201);
    let path = format!("/api/rooms/{}", room["id"].as_str().unwrap());
    let users = server.get(&path).client().send().await.ok(200)["users"].clone();
    assert_eq!(users, json!([{ "id": ada.id, "username": "ada" }]));
    let body = json!({ "content": "hi", "userId": ada.id });
    let said = server.post(&format!("{path}/messages"), &body).client().send().await.ok(201);
    assert_eq!(said["userId"], json!(ada.id));
    server.add(room["id"].as_str().unwrap().parse().unwrap(), bob.id).await;
    server.post(&format!("{path}/messages"), &body).bearer(&bob.token).send().await.refused(403, "not_yourself");
}

#[tokio::test]
async fn tokens_are_minted_listed_and_revoked() {
    let server = start().await;
    let ada = server.user("ada").await;
    let body = json!({ "userId": ada.id, "expiresIn": "12h", "permissions": { "read": true } });
    let minted = server.post("/api/tokens/user", &body).bearer(&ada.token).send().await.ok(201);
    assert_eq!(keys(&minted), ["expiresAt", "id", "token", "user"]);
    assert_eq!(minted["expiresAt"], "2026-11-22T21:56:10.000Z");
    assert_eq!(minted["user"], json!({ "id": ada.id, "username": "ada", "role": "MEMBER" }));
    let body = json!({ "userId": ada.id, "email": "ops@example.com" });
    let client = server.post("/api/tokens/client", &body).client().send().await.ok(201);
    assert_eq!(keys(&client), ["expiresAt", "id", "token", "user"]);

    let tokens = server.get("/api/tokens").bearer(client["token"].as_str().unwrap()).send().await.ok(200);
    assert_eq!((&tokens[0]["type"], &tokens[0]["email"]), (&json!("CLIENT"), &json!("ops@example.com")));
    assert_eq!((&tokens[1]["id"], &tokens[1]["parentId"]), (&minted["id"], &json!(ada.token_id)));
    assert_eq!(tokens[1]["permissions"], json!({ "read": true, "write": false, "delete": false }));
    assert!(!tokens.to_string().contains("eyJ"), "a token in the list");

    let revoked = json!({ "message": "Token revoked successfully" });
    let child = minted["token"].as_str().unwrap();
    for _ in 0..2 {
        assert_eq!(server.delete(&format!("/api/tokens/{}", ada.token_id)).client().send().await.ok(200), revoked);
    }
    server.get("/api/auth/profile").bearer(child).send().await.refused(401, "token_revoked");
    let path = format!("/api/tokens/{}/revoke", client["id"].as_str().unwrap());
    assert_eq!(server.call("PUT", &path).client().send().await.ok(200), revoked);
    server.get("/api/tokens").bearer(client["token"].as_str().unwrap()).send().await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_token_never_hands_on_more_than_it_has() {
    let server = start().await;
    let world = World::new(&server).await;
    let room = world.room;
    let scoped = json!({ "permissions": { "read": true, "write": true, "rooms": [room] }, "expiresIn": "1h" });
    let scoped = server.token(world.member.id, scoped).await;
    let mint = |more: Value| {
        let mut body = json!({ "userId": world.member.id });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/tokens/user", &body).bearer(&scoped.token)
    };
    let more = json!({ "permissions": { "read": true, "delete": true, "rooms": [room] } });
    mint(more).send().await.refused(403, "more_rights_than_own");
    mint(json!({ "permissions": { "read": true } })).send().await.refused(403, "more_rights_than_own");
    let minted = mint(json!({ "expiresIn": "7d" })).send().await.ok(201);
    assert_eq!(minted["expiresAt"], "2026-11-22T10:56:10.000Z");
    for (life, message) in [("7", "must be a whole number and a unit"), ("0s", "must be between"), ("4000d", "must be between")]
    {
        let answer = mint(json!({ "expiresIn": life })).send().await;
        assert!(answer.text().contains(message), "{}", answer.text());
        answer.invalid("expiresIn");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let server = start().await;
    let ada = server.user("ada").await;
    server.advance(std::time::Duration::from_secs(7 * 24 * 60 * 60)).await;
    let answer = server.get("/api/auth/profile").bearer(&ada.token).send().await;
    let challenge = r#"Bearer realm="chatsphere", error="invalid_token", error_description="token_expired""#;
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
    answer.refused(401, "token_expired");
}

#[tokio::test]
async fn posting_is_limited() {
    let limits = chatsphere_core::Limits { messages_per_second: 2, message_burst: 3, ..chatsphere_core::Limits::default() };
    let server = support::TestServer::rest(support::Setup { limits, ..Default::default() }).await;
    let ada = server.user("ada").await;
    let room = server.room("lobby", &ada).await;
    for content in ["1", "2", "3"] {
        server.say(room, &ada, content).await;
    }
    let body = json!({ "content": "4" });
    let answer = server.post(&format!("/api/rooms/{room}/messages"), &body).bearer(&ada.token).send().await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""messages";q=3;w=2"#));
    assert_eq!(answer.header("ratelimit"), Some(r#""messages";r=0;t=1"#));
    answer.refused(429, "rate_limited");
    server.post(&format!("/api/rooms/{room}/messages"), &body).client().send().await.ok(201);
}

/// An ADMIN is a person: its changes and messages are counted like everybody's. Those of a CLIENT token are not.
#[tokio::test]
async fn admins_are_rate_limited_and_client_tokens_are_not() {
    let limits = chatsphere_core::Limits { messages_per_second: 1, message_burst: 3, ..chatsphere_core::Limits::default() };
    let server = support::TestServer::rest(support::Setup { limits, ..Default::default() }).await;
    let world = World::new(&server).await;
    let calls = |token: &str, number: usize| {
        let user = |name: &str| json!({ "username": format!("{name} {number}") });
        let change = server.call("PATCH", &format!("/api/users/{}", world.stranger.id)).json(&json!({ "role": "MODERATOR" }));
        let revoke = server.delete(&format!("/api/tokens/{}", world.stranger.token_id));
        [server.post("/api/users", &user("made")), change, revoke].map(|call| call.bearer(token))
    };
    for kind in 0..3 {
        let admin = server.user_as(&format!("admin {kind}"), "ADMIN").await;
        let mut answers = Vec::new();
        for number in 0..4 {
            let call = calls(&admin.token, kind * 10 + number).into_iter().nth(kind).unwrap();
            answers.push(call.send().await);
        }
        let last = answers.pop().unwrap();
        assert!(answers.iter().all(|answer| answer.status.is_success()), "{kind}");
        assert_eq!(last.header("retry-after"), Some("1"));
        assert_eq!(last.header("ratelimit-policy"), Some(r#""changes";q=3;w=3"#));
        let detail = last.refused(429, "rate_limited")["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("too many changes: wait "), "{detail}");
    }
    for number in 100..110 {
        for call in calls(&server.client_token, number) {
            assert!(call.send().await.status.is_success());
        }
    }
    // A token may always revoke itself.
    let path = format!("/api/users/{}", world.stranger.id);
    for _ in 0..3 {
        server.call("PATCH", &path).json(&json!({ "role": "MEMBER" })).bearer(&world.admin.token).send().await.ok(200);
    }
    server.delete(&format!("/api/tokens/{}", world.admin.token_id)).bearer(&world.admin.token).send().await.ok(200);
}

#[tokio::test]
async fn a_client_token_acts_as_a_user() {
    let limits = chatsphere_core::Limits { messages_per_second: 1, message_burst: 10, ..chatsphere_core::Limits::default() };
    let server = support::TestServer::rest(support::Setup { limits, ..Default::default() }).await;
    let world = World::new(&server).await;
    let (member, stranger) = (&world.member, &world.stranger);
    let path = |user: &support::Person| format!("/api/rooms/{}/messages?as={}", world.room, user.id);
    let post = |user, body: Value| server.post(&path(user), &body).client();
    let posted = post(member, json!({ "content": "hello" })).send().await.ok(201);
    assert_eq!(posted["userId"], json!(member.id));
    post(stranger, json!({ "content": "hello" })).send().await.refused(403, "not_a_member");
    for user in [member.id, stranger.id] {
        post(member, json!({ "content": "hello", "userId": user })).send().await.invalid("userId");
    }
    // Lists show what the user may see, and their links go on with it.
    post(member, json!({ "content": "again" })).send().await.ok(201);
    let own = server.get(&format!("/api/messages/user?as={}&limit=1", member.id)).client().send().await;
    let next = own.links()["next"].clone();
    assert_eq!(own.ok(200)[0]["content"], "again");
    assert_eq!(server.get(&next).client().send().await.ok(200)[0]["content"], "hello");
    for (user, rooms) in [(member, 1), (stranger, 0)] {
        let listed = server.get(&format!("/api/rooms?as={}", user.id)).client().send().await.ok(200);
        assert_eq!(listed.as_array().unwrap().len(), rooms);
    }
    // The user's rate limit counts, and not that of others.
    loop {
        let answer = post(member, json!({ "content": "x" })).send().await;
        if answer.status != 201 {
            answer.refused(429, "rate_limited");
            break;
        }
    }
    let own = server.post(&format!("/api/rooms/{}/messages", world.room), &json!({ "content": "x" }));
    own.bearer(&member.token).send().await.refused(429, "rate_limited");
    post(&world.owner, json!({ "content": "x" })).send().await.ok(201);
    let own = server.post(&format!("/api/rooms/{}/messages", world.room), &json!({ "content": "x", "userId": member.id }));
    own.client().send().await.ok(201);
    // A disabled user is nobody.
    let disable = server.call("PATCH", &format!("/api/users/{}", member.id)).json(&json!({ "disabled": true }));
    disable.client().send().await.ok(200);
    post(member, json!({ "content": "x" })).send().await.refused(404, "user_not_found");
}
