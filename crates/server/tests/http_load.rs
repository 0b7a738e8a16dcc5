//! Tests of the limits of one user's concurrent calls, and their isolation from other users.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use chatsphere_core::store::PAGE_BYTES;
use chatsphere_core::{Caller, Limits, RoomId, TokenId};
use serde_json::json;
use support::{Person, Setup, TestServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// The time-out of each step, which only a fault reaches.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval between checks of an awaited condition.
const LOOK: Duration = Duration::from_millis(10);

async fn server(change: impl FnOnce(&mut Limits)) -> TestServer {
    let mut setup = Setup::default();
    change(&mut setup.limits);
    TestServer::rest(setup).await
}

/// Creates a room with this user, and more than a page of messages, which JSON makes six times as long.
async fn heavy_room(server: &TestServer, user: &Person) -> RoomId {
    let room = server.room("heavy", user).await;
    let content = "\u{1}".repeat(32 * 1024);
    for _ in 0..8 {
        server.say(room, user, &content).await;
    }
    room
}

async fn status(server: &TestServer, path: &str, user: &Person) -> u16 {
    server.get(path).bearer(&user.token).send().await.status.as_u16()
}

/// Sends requests on a connection with a small receive buffer, without reading the answers.
async fn ask(server: &TestServer, requests: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(server.addr).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn reads_have_a_rate() {
    let server = server(|limits| (limits.reads_per_second, limits.read_burst) = (2, 3)).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    for path in ["/api/rooms", "/api/auth/profile", "/api/messages/user"] {
        assert_eq!(status(&server, path, &ada).await, 200, "{path}");
    }
    let refused = server.get("/api/rooms").bearer(&ada.token).send().await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"reads\";q=3;w=2"));
    assert_eq!(refused.header("ratelimit"), Some("\"reads\";r=0;t=1"));
    refused.refused(429, "rate_limited");
    // Another token of the same user has the same limit; its changes are counted separately.
    let other = server.token(ada.id, json!({})).await;
    assert_eq!(status(&server, "/api/rooms", &other).await, 429);
    server.room("lobby", &ada).await;
    assert_eq!(status(&server, "/api/rooms", &bob).await, 200);
    for _ in 0..10 {
        server.get("/api/rooms").client().send().await.ok(200);
    }
    server.advance(Duration::from_millis(500)).await;
    assert_eq!(status(&server, "/api/rooms", &ada).await, 200);
    assert_eq!(status(&server, "/api/rooms", &ada).await, 429);
    // An ADMIN is limited like other users.
    let boss = server.user_as("boss", "ADMIN").await;
    let answers = [status(&server, "/api/users", &boss).await, status(&server, "/api/tokens", &boss).await];
    assert_eq!(answers, [200, 200]);
    assert_eq!([status(&server, "/api/rooms", &boss).await, status(&server, "/api/rooms", &boss).await], [200, 429]);
}

#[tokio::test]
async fn a_users_concurrent_calls_are_limited() {
    let server = server(|limits| limits.calls_per_user = 2).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let head = |user: &Person| {
        let token = &user.token;
        format!(
            "POST /api/rooms HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: 16\r\n\r\n"
        )
    };
    let mut held = [ask(&server, &head(&ada)).await, ask(&server, &head(&ada)).await];
    let mut refusals = 0;
    until("calls are counted", async || {
        let refused = server.get("/api/rooms").bearer(&ada.token).send().await;
        refusals += usize::from(refused.status == 503);
        refused.status == 503 && refused.header("retry-after") == Some("1") && refused.problem() == "overloaded"
    })
    .await;
    assert_eq!(status(&server, "/api/rooms", &bob).await, 200);
    server.get("/api/rooms").client().send().await.ok(200);
    for stream in &mut held {
        stream.write_all(br#"{"name":"lobby"}"#).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 201");
    }
    until("calls end", async || {
        let ended = status(&server, "/api/rooms", &ada).await == 200;
        refusals += usize::from(!ended);
        ended
    })
    .await;
    server.expect_faults(refusals);
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    const MAX: usize = 2 * PAGE_BYTES;
    let server = server(|limits| limits.answer_bytes_per_user = MAX).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let room = heavy_room(&server, &ada).await;
    server.add(room, bob.id).await;
    let path = format!("/api/rooms/{room}/messages?limit=200");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", ada.token);
    let budget = &server.backend.chat.budget;
    let mut unread = Vec::new();
    let mut refusals = 0;
    until("so much is unread that more is refused", async || {
        unread.push(ask(&server, &request.repeat(8)).await);
        let refused = status(&server, &path, &ada).await == 503;
        refusals += usize::from(refused);
        assert!(budget.bytes() <= MAX + PAGE_BYTES, "{}", budget.bytes());
        refused
    })
    .await;
    // Other users are answered meanwhile.
    for _ in 0..10 {
        assert_eq!(status(&server, &path, &bob).await, 200);
    }
    drop(unread);
    until("what nobody will read is forgotten", async || budget.bytes() == 0).await;
    assert_eq!(status(&server, &path, &ada).await, 200);
    server.expect_faults(refusals);
}

#[tokio::test]
async fn calls_without_a_token_use_no_budget() {
    let server = server(|limits| limits.answer_bytes = 16 * 1024).await;
    let ada = server.user("ada").await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let mut stream = ask(&server, "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
        unread.push(stream);
    }
    for path in ["/livez", "/docs/", "/api/openapi.json"] {
        assert_eq!(server.get(path).send().await.status, 200, "{path}");
    }
    assert_eq!(status(&server, "/api/rooms", &ada).await, 200);
    assert_eq!(server.backend.chat.budget.bytes(), 0);
}

#[tokio::test]
async fn changes_are_answered_even_if_the_budget_is_used_up() {
    let server = server(|limits| limits.answer_bytes = PAGE_BYTES).await;
    let ada = server.user("ada").await;
    let room = server.room("lobby", &ada).await;
    let charge = server.backend.chat.budget.charge(None, PAGE_BYTES);
    server.say(room, &ada, "hello").await;
    let refused = server.get(&format!("/api/rooms/{room}/messages")).client().send().await;
    refused.refused(503, "overloaded");
    drop(charge);
    server.get(&format!("/api/rooms/{room}/messages")).client().send().await.ok(200);
    server.expect_faults(1);
}

#[tokio::test]
async fn many_reads_of_a_user_delay_only_its_own() {
    let server = server(|_| {}).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let chat = &server.backend.chat;
    // Takes turns as if this many of Ada's pages were being read.
    let row = chat.store.token(ada.token_id.parse::<TokenId>().unwrap()).await.unwrap().unwrap();
    let caller = Caller::from(&row);
    let mut turns = Vec::new();
    for _ in 0..chat.turns_per_user {
        turns.push(chat.turn(&caller).await.unwrap());
    }
    let waits = status(&server, "/api/rooms", &ada);
    tokio::pin!(waits);
    for _ in 0..10 {
        tokio::select! {
            biased;
            _ = &mut waits => panic!("it had its turn before those that came earlier"),
            answered = status(&server, "/api/rooms", &bob) => assert_eq!(answered, 200),
        }
    }
    server.get("/api/rooms").client().send().await.ok(200);
    turns.pop();
    assert_eq!(waits.await, 200);
}

#[tokio::test]
async fn a_page_of_control_characters_is_not_larger_than_any_other() {
    let server = server(|_| {}).await;
    let ada = server.user("ada").await;
    let room = heavy_room(&server, &ada).await;
    for path in [
        format!("/api/rooms/{room}/messages?limit=200"),
        format!("/api/rooms/{room}/messages?limit=200&after=0"),
        format!("/api/rooms/{room}/events?limit=200"),
        "/api/messages/user?limit=200".to_owned(),
    ] {
        let answer = server.get(&path).bearer(&ada.token).send().await;
        let relation = if path.contains("after") || path.contains("events") || path.contains("user") { "next" } else { "prev" };
        assert!(answer.body.len() <= PAGE_BYTES && answer.links().contains_key(relation), "{path}: {}", answer.body.len());
        answer.ok(200);
    }
}
