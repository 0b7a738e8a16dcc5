//! Tests of rights that are lost while a call's body is being sent: the rights at the time of execution count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::{Person, ROUTES, TestServer, World, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A call whose body lacks the last byte.
struct Unfinished {
    stream: TcpStream,
    last: u8,
}

impl Unfinished {
    /// Sends the call. Returns when the server waits for the body, so it has authenticated the caller.
    async fn begin(server: &TestServer, method: &str, path: &str, token: &str, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        let (last, most) = body.split_last().unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            server.addr,
            body.len()
        );
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&go_on), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(most).await.unwrap();
        Self { stream, last: *last }
    }

    /// Sends the last byte, and returns the answer's status and code.
    async fn finish(mut self) -> (u16, String) {
        self.stream.write_all(&[self.last]).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

async fn client_token(server: &TestServer) -> Person {
    let body = json!({ "userId": server.admin_id, "email": "a@b.example" });
    let made = server.post("/api/tokens/client", &body).client().send().await.ok(201);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Person { id: server.admin_id, username: String::new(), token: text("token"), token_id: text("id") }
}

/// Returns all data that a call could have created or changed.
async fn everything(server: &TestServer, world: &World) -> Vec<Value> {
    let room = format!("/api/rooms/{}", world.room);
    let mut all = Vec::new();
    for path in ["/api/users", "/api/rooms", "/api/tokens", "/api/messages", &room] {
        all.push(server.get(&format!("{path}?limit=200")).client().send().await.ok(200));
    }
    // The test itself changes `revokedAt`.
    for token in all[2].as_array_mut().unwrap() {
        token.as_object_mut().unwrap().remove("revokedAt");
    }
    all
}

#[tokio::test]
async fn a_token_that_is_revoked_during_the_body_does_nothing() {
    let server = start().await;
    let world = World::new(&server).await;
    for (number, route) in ROUTES.iter().enumerate() {
        let Some(body) = route.body else { continue };
        let target = route.target(&server, &world, number).await;
        let token = client_token(&server).await;
        let before = everything(&server, &world).await;
        let call = Unfinished::begin(&server, route.method, &route.path_for(&target), &token.token, &body(&target)).await;
        server.delete(&format!("/api/tokens/{}", token.token_id)).client().send().await.ok(200);
        assert_eq!(call.finish().await, (401, "token_revoked".to_owned()), "{}", route.name());
        assert_eq!(everything(&server, &world).await, before, "{}", route.name());
    }
}

#[tokio::test]
async fn a_user_who_is_demoted_or_disabled_during_the_body_does_nothing() {
    let server = start().await;
    let world = World::new(&server).await;
    let path = format!("/api/users/{}", world.admin.id);
    for (change, expected) in [
        (json!({ "role": "MEMBER" }), (403, "client_token_required".to_owned())),
        (json!({ "role": "ADMIN", "disabled": true }), (401, "user_disabled".to_owned())),
    ] {
        server.call("PATCH", &path).json(&json!({ "role": "ADMIN" })).client().send().await.ok(200);
        let body = json!({ "username": "made", "role": "ADMIN" });
        let call = Unfinished::begin(&server, "POST", "/api/users", &world.admin.token, &body).await;
        server.call("PATCH", &path).json(&change).client().send().await.ok(200);
        assert_eq!(call.finish().await, expected);
        let users = server.get("/api/users?limit=200").client().send().await.ok(200);
        assert!(users.as_array().unwrap().iter().all(|user| user["username"] != "made"), "{users}");
    }
}

/// Gained rights count too: the second authentication decides.
#[tokio::test]
async fn a_user_who_is_promoted_during_the_body_may_call() {
    let server = start().await;
    let world = World::new(&server).await;
    let body = json!({ "username": "made" });
    let call = Unfinished::begin(&server, "POST", "/api/users", &world.member.token, &body).await;
    let path = format!("/api/users/{}", world.member.id);
    server.call("PATCH", &path).json(&json!({ "role": "ADMIN" })).client().send().await.ok(200);
    assert_eq!(call.finish().await.0, 201);
}

/// Once the answer to the revocation arrives, calls in progress store nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_stored_once_a_right_is_gone() {
    let server = start().await;
    let world = World::new(&server).await;
    let room = format!("/api/rooms/{}", world.room);
    for round in 0..12 {
        let token = server.token(world.member.id, json!({})).await;
        let admin = server.user_as(&format!("admin {round}"), "ADMIN").await;
        let owner = server.user(&format!("owner {round}")).await;
        let own = format!("/api/rooms/{}/users", server.room("own", &owner).await);
        let guest = server.user(&format!("guest {round}")).await;
        let (loss, count) = match round % 3 {
            0 => (server.delete(&format!("/api/tokens/{}", token.token_id)), room.clone()),
            1 => {
                let path = format!("/api/users/{}", admin.id);
                (server.call("PATCH", &path).json(&json!({ "role": "MEMBER" })), "/api/users?limit=200".to_owned())
            }
            _ => (server.delete(&format!("{own}/{}", owner.id)), own.clone()),
        };
        let loss = loss.client();
        // The number of calls that one user may have in progress, without those that revoke.
        let calls = (0..30).map(|number| match round % 3 {
            0 => server.post(&format!("{room}/messages"), &json!({ "content": "x" })).bearer(&token.token),
            1 => {
                let body = json!({ "username": format!("made {round}-{number}"), "role": "ADMIN" });
                server.post("/api/users", &body).bearer(&admin.token)
            }
            _ => server.post(&own, &json!({ "userId": guest.id })).bearer(&owner.token),
        });
        let lose = async {
            loss.send().await.ok(200);
            server.get(&count).client().send().await.ok(200)
        };
        let calls: Vec<_> = calls.collect();
        let (after, _) = futures_util::join!(lose, futures_util::future::join_all(calls.into_iter().map(|call| call.send())));
        assert_eq!(server.get(&count).client().send().await.ok(200), after, "round {round}");
    }
}
