//! Tests of the demo: the page, invitations, and the admission of guests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use chatsphere::config::Settings;
use chatsphere::serve::{Running, start};
use chatsphere_core::SystemClock;
use serde_json::{Value, json};
use support::{Answer, Setup, TestServer};

async fn demo() -> TestServer {
    TestServer::rest(Setup { demo: true, ..Setup::default() }).await
}

fn ask(invite: &str, username: &str) -> Value {
    json!({ "invite": invite, "username": username })
}

#[tokio::test]
async fn an_invitation_admits_one_guest() {
    let server = demo().await;
    let invite = server.invite();
    let session = server.post("/demo/session", &ask(&invite, "ada")).send().await.ok(201);
    assert_eq!((&session["user"]["username"], &session["room"]["name"]), (&json!("ada"), &json!("lobby")));
    let token = session["token"].as_str().unwrap();
    let room = format!("/api/rooms/{}", session["room"]["id"].as_str().unwrap());
    let users = server.get(&room).bearer(token).send().await.ok(200)["users"].clone();
    assert_eq!(users.as_array().unwrap().len(), 2);
    server.post("/demo/session", &ask(&invite, "bob")).send().await.refused(403, "invite_invalid");

    // The guest invites another window.
    let invite = server.call("POST", "/demo/invite").bearer(token).send().await.ok(201)["invite"].as_str().unwrap().to_owned();
    server.post("/demo/session", &ask(&invite, "ada")).send().await.refused(409, "username_taken");
    let body = json!({ "invite": invite, "username": "bob", "roomName": "lobby" });
    let second = server.post("/demo/session", &body).send().await.ok(201);
    assert_eq!(second["room"], session["room"]);
}

#[tokio::test]
async fn an_invitation_ends() {
    let server = demo().await;
    let invite = server.invite();
    server.advance(Duration::from_secs(600)).await;
    server.post("/demo/session", &ask(&invite, "ada")).send().await.refused(403, "invite_invalid");
    server.post("/demo/session", &ask("x", "ada")).send().await.refused(403, "invite_invalid");
}

#[tokio::test]
async fn only_this_machine_is_admitted() {
    let server = demo().await;
    let ada = server.user("ada").await;
    let invite = server.invite();
    for (name, value) in [("host", "evil.example"), ("host", "evil.example:3001"), ("x-forwarded-for", "203.0.113.9")] {
        let call = server.post("/demo/session", &ask(&invite, "eve")).header(name, value);
        call.send().await.refused(403, "loopback_only");
        let call = server.call("POST", "/demo/invite").bearer(&ada.token).header(name, value);
        call.send().await.refused(403, "loopback_only");
    }
    // Only guests who came by an invitation can invite others.
    server.call("POST", "/demo/invite").bearer(&ada.token).send().await.refused(403, "invite_invalid");
    server.call("POST", "/demo/invite").client().send().await.refused(403, "invite_invalid");
    server.call("POST", "/demo/invite").send().await.refused(401, "token_missing");
    server.post("/demo/session", &ask(&invite, "eve")).send().await.ok(201);
}

#[tokio::test]
async fn a_guest_does_not_get_into_other_peoples_rooms() {
    let server = demo().await;
    let ada = server.user("ada").await;
    let private = server.room("private", &ada).await;
    let body = json!({ "invite": server.invite(), "username": "guest", "roomName": "private" });
    let session = server.post("/demo/session", &body).send().await.ok(201);
    assert_ne!(session["room"]["id"], json!(private));
    let path = format!("/api/rooms/{private}");
    server.get(&path).bearer(session["token"].as_str().unwrap()).send().await.refused(403, "not_a_member");
}

#[tokio::test]
async fn a_guest_does_not_get_into_the_operators_rooms() {
    let server = demo().await;
    for (number, owner) in [server.admin_id, server.user("demo-host").await.id].into_iter().enumerate() {
        let name = format!("board of {owner}");
        let room = server.post("/api/rooms", &json!({ "name": name, "userId": owner })).client().send().await.ok(201);
        let body = json!({ "invite": server.invite(), "username": format!("guest {number}"), "roomName": name });
        let session = server.post("/demo/session", &body).send().await.ok(201);
        assert_ne!(session["room"]["id"], room["id"]);
        let path = format!("/api/rooms/{}", room["id"].as_str().unwrap());
        server.get(&path).bearer(session["token"].as_str().unwrap()).send().await.refused(403, "not_a_member");
    }
}

#[tokio::test]
async fn twenty_guests_meet_in_one_lobby() {
    let server = demo().await;
    let calls: Vec<Value> = (0..20).map(|number| ask(&server.invite(), &format!("guest {number}"))).collect();
    let answers = futures_util::future::join_all(calls.iter().map(|body| server.post("/demo/session", body).send())).await;
    let rooms: std::collections::HashSet<String> =
        answers.into_iter().map(|answer| answer.ok(201)["room"]["id"].to_string()).collect();
    assert_eq!(rooms.len(), 1);
}

/// Admits a guest, and returns the answer.
async fn let_in(running: &Running, username: &str) -> Value {
    let body = ask(&running.demo_invite().unwrap(), username);
    let url = format!("http://{}/demo/session", running.http_addr());
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().post(url).json(&body).send().await.unwrap();
    Answer::read(answer).await.ok(201)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demos_rooms_are_found_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let settings = || Settings { data_dir: directory.path().join("data"), port: 0, ..Settings::default() };
    let running = start(settings(), Arc::new(SystemClock)).await.unwrap();
    let first = let_in(&running, "ada").await;
    assert!(running.shutdown().await);

    let running = start(settings(), Arc::new(SystemClock)).await.unwrap();
    let second = let_in(&running, "bob").await;
    assert_eq!(second["room"], first["room"]);
    assert!(running.shutdown().await);

    // The file with the host's id is lost: its rooms are no longer the demo's, and stay closed to guests.
    std::fs::remove_file(directory.path().join("data/demo-host")).unwrap();
    let running = start(settings(), Arc::new(SystemClock)).await.unwrap();
    let third = let_in(&running, "eve").await;
    assert_eq!(third["room"]["name"], first["room"]["name"]);
    assert_ne!(third["room"]["id"], first["room"]["id"]);
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn the_page_loads_and_calls_only_its_own_server() {
    let server = demo().await;
    for (path, kind) in [
        ("/demo", "text/html; charset=utf-8"),
        ("/demo/demo.js", "text/javascript; charset=utf-8"),
        ("/demo/demo.css", "text/css; charset=utf-8"),
    ] {
        let answer = server.get(path).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        let host = server.addr;
        let start = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";
        assert!(policy.starts_with(&format!("{start} ws://{host} wss://{host};")), "{policy}");
    }
    server.get("/demo/../Cargo.toml").send().await.refused(404, "route_not_found");
    server.get("/demo/package.json").send().await.refused(404, "route_not_found");
}

#[tokio::test]
async fn the_admissions_of_an_address_are_rate_limited() {
    let server = demo().await;
    for number in 0..30 {
        server.post("/demo/session", &ask("x", &format!("eve {number}"))).send().await.refused(403, "invite_invalid");
    }
    let session = ask(&server.invite(), "ada");
    let refused = server.post("/demo/session", &session).send().await;
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), (Some("1"), Some("\"demo\";r=0;t=1")));
    refused.refused(429, "rate_limited");
    // A rejected attempt does not consume the invitation.
    server.advance(Duration::from_secs(1)).await;
    let token = server.post("/demo/session", &session).send().await.ok(201)["token"].as_str().unwrap().to_owned();
    server.call("POST", "/demo/invite").bearer(&token).send().await.refused(429, "rate_limited");
    server.advance(Duration::from_secs(1)).await;
    server.call("POST", "/demo/invite").bearer(&token).send().await.ok(201);
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let server = demo().await;
    server.call("POST", "/demo/session").send().await.refused(415, "unsupported_media_type");
    server.post("/demo/session", &json!({ "username": "ada" })).send().await.invalid("invite");
    server.post("/demo/session", &ask(&server.invite(), "")).send().await.invalid("username");
    let body = json!({ "invite": server.invite(), "username": "ada", "roomName": "" });
    server.post("/demo/session", &body).send().await.invalid("name");
}
