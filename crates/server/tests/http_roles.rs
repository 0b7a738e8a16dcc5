//! The role matrix: every call by every kind of caller.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Actor, ROUTES, TestServer, World, start};

/// Returns the token of each of [`Actor::ALL`].
async fn tokens(server: &TestServer, world: &World) -> Vec<Option<String>> {
    let mut tokens = Vec::new();
    for actor in Actor::ALL {
        tokens.push(match actor {
            Actor::Nobody => None,
            Actor::Stranger => Some(world.stranger.token.clone()),
            Actor::Member => Some(world.member.token.clone()),
            Actor::Owner => Some(world.owner.token.clone()),
            Actor::Moderator => Some(world.moderator.token.clone()),
            Actor::Admin => Some(world.admin.token.clone()),
            Actor::Client => Some(server.client_token.clone()),
            Actor::ReadOnly => Some(server.token(world.member.id, json!({ "permissions": { "read": true } })).await.token),
            Actor::Scoped => {
                let permissions = json!({ "read": true, "write": true, "delete": true, "rooms": [world.room] });
                Some(server.token(world.member.id, json!({ "permissions": permissions })).await.token)
            }
            Actor::ScopedAdmin => {
                let permissions = json!({ "read": true, "write": true, "delete": true, "rooms": [world.room] });
                Some(server.token(world.admin.id, json!({ "permissions": permissions })).await.token)
            }
            Actor::Revoked => {
                let token = server.token(world.member.id, json!({})).await;
                server.delete(&format!("/api/tokens/{}", token.token_id)).client().send().await.ok(200);
                Some(token.token)
            }
        });
    }
    tokens
}

#[tokio::test]
async fn everyone_calls_everything() {
    let server = start().await;
    let world = World::new(&server).await;
    let tokens = tokens(&server, &world).await;
    let mut table = format!("{:46}{}\n", "", Actor::ALL.map(|actor| format!("{:>11}", format!("{actor:?}"))).concat());
    let mut wrong = Vec::new();
    let mut number = 0;
    for route in ROUTES {
        table += &format!("{:46}", route.name());
        for ((actor, token), expected) in Actor::ALL.into_iter().zip(&tokens).zip(route.expected) {
            number += 1;
            let target = route.target(&server, &world, number).await;
            let mut call = server.call(route.method, &route.path_for(&target));
            if let Some(body) = route.body {
                call = call.json(&body(&target));
            }
            if let Some(token) = token {
                call = call.bearer(token);
            }
            let answer = call.send().await;
            let status = answer.status.as_u16();
            if status >= 400 {
                answer.problem();
            }
            table += &format!("{status:>11}");
            if status != expected {
                wrong.push(format!("{} by {actor:?}: {status} rather than {expected}: {}", route.name(), answer.text()));
            }
        }
        table += "\n";
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With `?as=` a CLIENT token may do what that user's own token may, in every call. Other tokens may not act as somebody else.
#[tokio::test]
async fn a_client_token_has_the_rights_of_the_user_as_whom_it_acts() {
    let server = start().await;
    let world = World::new(&server).await;
    let users = [
        (Actor::Stranger, &world.stranger),
        (Actor::Member, &world.member),
        (Actor::Owner, &world.owner),
        (Actor::Moderator, &world.moderator),
        (Actor::Admin, &world.admin),
    ];
    let mut number = 1_000;
    for route in ROUTES.iter().filter(|route| !route.is_public()) {
        for (actor, user) in users {
            number += 1;
            let target = route.target(&server, &world, number).await;
            let call = |who: &str, token: &str| {
                let call = server.call(route.method, &format!("{}?as={who}", route.path_for(&target)));
                let call = if let Some(body) = route.body { call.json(&body(&target)) } else { call };
                call.bearer(token).send()
            };
            let id = user.id.to_string();
            for other in [&world.stranger, &world.admin].into_iter().filter(|other| other.id != user.id) {
                call(&id, &other.token).await.refused(403, "not_yourself");
            }
            for nobody in [world.room.to_string(), "none".to_owned()] {
                call(&nobody, &server.client_token).await.refused(404, "user_not_found");
            }
            let twice = format!("{id}&as={id}");
            call(&twice, &server.client_token).await.invalid("as");
            let answer = call(&id, &server.client_token).await;
            let place = Actor::ALL.iter().position(|other| *other == actor).unwrap();
            assert_eq!(answer.status.as_u16(), route.expected[place], "{} as {actor:?}: {}", route.name(), answer.text());
        }
    }
}

#[tokio::test]
async fn no_call_works_without_a_good_token() {
    let server = start().await;
    let world = World::new(&server).await;
    for route in ROUTES.iter().filter(|route| !route.is_public()) {
        let target = route.target(&server, &world, 0).await;
        for (authorization, code) in [
            (None, "token_missing"),
            (Some("Basic YWRhOnNlY3JldA=="), "token_missing"),
            (Some("Bearer"), "token_missing"),
            (Some("Bearer x"), "token_invalid"),
        ] {
            let mut call = server.call(route.method, &route.path_for(&target)).header("x-forwarded-for", "203.0.113.9");
            if let Some(authorization) = authorization {
                call = call.header("authorization", authorization);
            }
            let answer = call.send().await;
            assert!(
                answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer realm=")),
                "{}",
                route.name()
            );
            answer.refused(401, code);
        }
        // The user of this target is renamed, because that of the next one has the same name.
        if target.user.username.starts_with("target") {
            let rename = json!({ "username": route.name() });
            server.call("PUT", "/api/auth/profile").json(&rename).bearer(&target.user.token).send().await.ok(200);
        }
    }
}

/// Without a row, nobody would test the rights of a new call.
#[test]
fn every_call_is_in_the_table() {
    let described: BTreeSet<String> = chatsphere::http::openapi()
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| {
            [("GET", &item.get), ("PUT", &item.put), ("POST", &item.post), ("DELETE", &item.delete), ("PATCH", &item.patch)]
                .into_iter()
                .filter(|(_, operation)| operation.is_some())
                .map(move |(method, _)| format!("{method} {path}"))
        })
        .collect();
    let tested: BTreeSet<String> = ROUTES.iter().map(support::Route::name).collect();
    assert_eq!(tested, described);
}

/// Only a few calls are open to all. They are listed here too.
#[test]
fn public_calls_are_described_as_such() {
    let document = chatsphere::http::openapi();
    for route in ROUTES {
        let item = &document.paths.paths[route.path];
        let operation = match route.method {
            "GET" => &item.get,
            "PUT" => &item.put,
            "POST" => &item.post,
            "DELETE" => &item.delete,
            _ => &item.patch,
        };
        assert_eq!(operation.as_ref().unwrap().security.is_none(), route.is_public(), "{}", route.name());
    }
}

#[tokio::test]
async fn a_role_is_taken_away_at_once() {
    let server = start().await;
    let world = World::new(&server).await;
    server.get("/api/users").bearer(&world.admin.token).send().await.ok(200);
    let path = format!("/api/users/{}", world.admin.id);
    server.call("PATCH", &path).json(&json!({ "role": "MEMBER" })).client().send().await.ok(200);
    server.get("/api/users").bearer(&world.admin.token).send().await.refused(403, "client_token_required");
}

#[tokio::test]
async fn an_admin_may_not_disable_the_user_of_a_client_token() {
    let server = start().await;
    let world = World::new(&server).await;
    let disable = |user, token: &str| {
        server.call("PATCH", &format!("/api/users/{user}")).json(&json!({ "disabled": true })).bearer(token)
    };
    disable(server.admin_id, &world.admin.token).send().await.refused(403, "behind_client_token");
    // An ADMIN may make any other change, and disable any other user.
    let demote = server.call("PATCH", &format!("/api/users/{}", server.admin_id)).json(&json!({ "role": "MEMBER" }));
    demote.bearer(&world.admin.token).send().await.ok(200);
    disable(world.member.id, &world.admin.token).send().await.ok(200);

    // A CLIENT token that is revoked or has expired protects nobody.
    let mint = |more: Value| {
        let mut body = json!({ "userId": world.owner.id, "email": "a@b.example" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post("/api/tokens/client", &body).client().send()
    };
    let token = mint(json!({})).await.ok(201);
    disable(world.owner.id, &world.admin.token).send().await.refused(403, "behind_client_token");
    server.delete(&format!("/api/tokens/{}", token["id"].as_str().unwrap())).client().send().await.ok(200);
    mint(json!({ "expiresIn": "1s" })).await.ok(201);
    disable(world.owner.id, &world.admin.token).send().await.refused(403, "behind_client_token");
    server.advance(Duration::from_secs(2)).await;
    disable(world.owner.id, &world.admin.token).send().await.ok(200);

    // A CLIENT token may disable this user, even its own.
    disable(server.admin_id, &server.client_token).send().await.ok(200);
    server.get("/api/users").client().send().await.refused(401, "user_disabled");
}

#[tokio::test]
async fn a_restricted_admin_may_not_list_users_and_tokens() {
    let server = start().await;
    let world = World::new(&server).await;
    let all = json!({ "read": true, "write": true, "delete": true });
    let mut scoped = all.clone();
    scoped["rooms"] = json!([world.room]);
    for (permissions, code) in [
        (json!({ "read": true }), "needs_unrestricted_token"),
        (scoped, "needs_unrestricted_token"),
        (json!({ "write": true }), "needs_read"),
    ] {
        let token = server.token(world.admin.id, json!({ "permissions": permissions })).await.token;
        for path in ["/api/tokens", "/api/users"] {
            server.get(path).bearer(&token).send().await.refused(403, code);
        }
    }
    let token = server.token(world.admin.id, json!({ "permissions": all })).await.token;
    for path in ["/api/tokens", "/api/users"] {
        server.get(path).bearer(&token).send().await.ok(200);
    }
}

#[tokio::test]
async fn a_moderator_may_not_remove_the_owner() {
    let server = start().await;
    let world = World::new(&server).await;
    let path = format!("/api/rooms/{}/users/{}", world.room, world.owner.id);
    server.delete(&path).bearer(&world.moderator.token).send().await.refused(403, "owner_stays");
    server.delete(&path).bearer(&world.owner.token).send().await.ok(200);
}

#[tokio::test]
async fn a_token_for_other_rooms_is_like_a_strangers() {
    let server = start().await;
    let world = World::new(&server).await;
    let other = server.room("other", &world.owner).await;
    let scoped = json!({ "permissions": { "read": true, "write": true, "delete": true, "rooms": [other] } });
    for user in [world.owner.id, world.admin.id] {
        let token = server.token(user, scoped.clone()).await.token;
        for path in ["", "/users", "/messages", "/events"] {
            let path = format!("/api/rooms/{}{path}", world.room);
            server.get(&path).bearer(&token).send().await.refused(403, "not_a_member");
        }
        let body = json!({ "content": "x" });
        server
            .post(&format!("/api/rooms/{}/messages", world.room), &body)
            .bearer(&token)
            .send()
            .await
            .refused(403, "not_a_member");
        let rooms = server.get("/api/rooms").bearer(&token).send().await.ok(200);
        assert_eq!((rooms.as_array().unwrap().len(), &rooms[0]["id"]), (1, &json!(other)));
    }
    let none = server.token(world.owner.id, json!({ "permissions": { "read": true, "rooms": [] } })).await;
    assert_eq!(server.get("/api/rooms").bearer(&none.token).send().await.ok(200), json!([]));
}

/// A backend that passes on which token its user wants revoked must not lose its own.
#[tokio::test]
async fn who_acts_as_a_user_revokes_what_the_user_may() {
    let server = start().await;
    let world = World::new(&server).await;
    let body = json!({ "userId": world.owner.id, "email": "owner@example.com" });
    let made = server.post("/api/tokens/client", &body).client().send().await.ok(201);
    let (own, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    let revoke = |id: &str| server.delete(&format!("/api/tokens/{id}?as={}", world.member.id)).bearer(token).send();
    revoke(own).await.refused(403, "client_token_required");
    revoke(&world.member.token_id).await.ok(200);
    server.delete(&format!("/api/tokens/{own}")).bearer(token).send().await.ok(200);
}

/// A token for a few rooms, or without some permission, may be held by somebody else than its user. It may revoke only itself
/// and the tokens that it minted.
#[tokio::test]
async fn a_restricted_token_revokes_only_itself_and_what_it_minted() {
    let server = start().await;
    let world = World::new(&server).await;
    for user in [&world.member, &world.admin] {
        let all = json!({ "read": true, "write": true, "delete": true });
        for (field, value) in
            [("rooms", json!([world.room])), ("rooms", json!([])), ("write", json!(false)), ("read", json!(false))]
        {
            let mut permissions = all.clone();
            permissions[field] = value;
            let more = json!({ "permissions": permissions });
            let (bound, other) = (server.token(user.id, more).await, server.token(user.id, json!({})).await);
            let revoke = |id: &str| server.delete(&format!("/api/tokens/{id}")).bearer(&bound.token).send();
            for id in [&user.token_id, &other.token_id, &world.stranger.token_id, "no id"] {
                revoke(id).await.refused(403, "needs_unrestricted_token");
            }
            server.get("/api/auth/profile").bearer(&other.token).send().await.ok(200);
            if permissions["write"] == json!(true) {
                let body = json!({ "userId": user.id });
                let child = server.post("/api/tokens/user", &body).bearer(&bound.token).send().await.ok(201);
                revoke(child["id"].as_str().unwrap()).await.ok(200);
            }
            revoke(&bound.token_id).await.ok(200);
        }
    }
}
