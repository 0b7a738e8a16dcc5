//! Tests of authentication of connections, at the start and with newer tokens.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, frame, upgrade};
use crate::server::{Server, Setup};
use crate::support::Person;

on_every_database!(
    each_way_leads_to_hello,
    a_client_token_is_not_for_urls,
    only_the_version_of_the_offered_subprotocols_is_echoed,
    a_bad_token_in_the_header_is_a_401,
    two_authorization_fields_are_a_401_by_either_way_in,
    a_page_gets_the_error_of_a_bad_token,
    a_connection_without_a_token_in_time_is_closed,
    fragments_do_not_extend_the_time_to_authenticate,
    frames_before_the_token_are_refused_and_harmless,
    another_token_of_the_same_user_is_accepted,
    a_token_of_another_user_is_rejected,
    a_bad_token_later_changes_nothing,
    a_newer_token_that_cannot_be_checked_closes_the_connection,
    a_users_connections_are_limited,
);

/// The ways in which a page can send its token.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    Subprotocol,
    FirstFrame,
}

const WAYS: [Way; 3] = [Way::Query, Way::Subprotocol, Way::FirstFrame];

async fn open(server: &Server, way: Way, token: &str) -> Client {
    match way {
        Way::Query => Client::open(server.addr, &format!("/ws?token={token}"), &[]).await,
        Way::Subprotocol => {
            let offered = format!("chatsphere.v1, bearer.{token}");
            Client::open(server.addr, "/ws", &[("sec-websocket-protocol", &offered)]).await
        }
        Way::FirstFrame => {
            let mut client = Client::open(server.addr, "/ws", &[]).await;
            client.send(json!({ "type": "auth", "token": token, "ref": "first" })).await;
            client
        }
    }
}

async fn each_way_leads_to_hello(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let mut clients = vec![server.connect(&ada.token).await, Client::connect_at(server.addr, "/", &ada.token).await];
    for way in WAYS {
        let mut client = open(&server, way, &ada.token).await;
        client.hello = client.expect("hello").await;
        if matches!(way, Way::FirstFrame) {
            let expected =
                json!({ "type": "auth_ok", "userId": ada.id, "expiresAt": client.hello["expiresAt"], "ref": "first" });
            assert_eq!(client.frame().await, expected);
        }
        clients.push(client);
    }
    assert_eq!(server.sessions.count(), clients.len());
    let mut ids = Vec::new();
    for client in &mut clients {
        let mut hello = client.hello.clone();
        ids.push(hello["connectionId"].take());
        let expected = json!({
            "type": "hello", "userId": ada.id, "connectionId": null, "heartbeatMs": 25_000, "protocol": 1,
            "expiresAt": "2026-11-29T09:56:10.000Z",
            "limits": {
                "messageBytes": 32_768, "messageVersions": 50, "usernameChars": 64, "roomNameChars": 128, "refBytes": 64,
                "clientMessageIdBytes": 64, "frameBytes": 65_536, "roomsPerConnection": 1_000, "connectionsPerUser": 1_000,
                "outboundQueueBytes": 1_048_576, "messagesPerSecond": 0, "messageBurst": 100, "unansweredSends": 64,
                "replayEvents": 10_000, "largestFrameBytes": 263_296, "framesPerSecond": 0, "frameBurst": 2_164,
                "pinsPerRoom": 100,
            },
        });
        assert_eq!(hello, expected);
        client.quiet().await;
    }
    ids.dedup();
    assert_eq!(ids.len(), clients.len(), "each connection has an id of its own");
}

async fn a_client_token_is_not_for_urls(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let mut client = open(&server, Way::Query, &server.client_token).await;
    let error = client.refused("token_invalid").await;
    for way in ["Authorization: Bearer", "bearer.<token>", "auth"] {
        assert!(error["message"].as_str().unwrap().contains(way), "{error}");
    }
    assert_eq!((&error["retryable"], error.get("field")), (&json!(false), None));
    client.closed(4501).await;
    // The error about an invalid token reveals nothing of it.
    let mut client = open(&server, Way::Query, "x.y.z").await;
    assert!(!client.refused("token_invalid").await["message"].as_str().unwrap().contains("CLIENT"));
    for way in [Way::Subprotocol, Way::FirstFrame] {
        open(&server, way, &server.client_token).await.expect("hello").await;
    }
    server.connect(&server.client_token).await;
}

async fn only_the_version_of_the_offered_subprotocols_is_echoed(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    for (offered, echoed) in [
        (format!("chatsphere.v1, bearer.{}", ada.token), "chatsphere.v1"),
        (format!("bearer.{},chatsphere.v1", ada.token), "chatsphere.v1"),
    ] {
        let request = upgrade("/ws", &format!("sec-websocket-protocol: {offered}\r\n"));
        let mut raw = Raw::request(server.addr, &request, b"").await;
        let head = raw.head.to_lowercase();
        let chosen = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(chosen, Some(echoed), "{offered}");
        assert!(!raw.head.contains(&ada.token));
        assert_eq!(raw.read().await.json()["type"], "hello");
    }
    // A browser fails the connection if the server selects none of these, whatever the answer.
    for offered in [format!("bearer.{}", ada.token), format!("graphql-ws, bearer.{}, chatsphere.v9", ada.token)] {
        for (path, more) in [("/ws", ""), ("/", ""), ("/ws", "content-length: 0\r\n")] {
            let request = upgrade(path, &format!("sec-websocket-protocol: {offered}\r\n{more}"));
            let mut raw = Raw::request(server.addr, &request, b"").await;
            assert!(raw.head.starts_with("HTTP/1.1 400"), "{}", raw.head);
            let problem = raw.body().await;
            assert_eq!(problem["code"], "websocket_handshake");
            assert!(problem["detail"].as_str().unwrap().contains("chatsphere.v1"), "{problem}");
            assert!(!problem.to_string().contains(&ada.token));
        }
    }
    let (one, two) = ("sec-websocket-protocol: chatsphere.v1\r\n", format!("sec-websocket-protocol: bearer.{}\r\n", ada.token));
    let mut raw = Raw::request(server.addr, &upgrade("/ws", &format!("{one}{two}")), b"").await;
    assert_eq!(raw.read().await.json()["type"], "hello", "offers in two lines are one list");
}

/// Returns invalid tokens, each with its error code and close code.
async fn bad_tokens(server: &Server) -> Vec<(String, &'static str, u16)> {
    let ada = server.user("ada").await;
    let revoked = server.token(ada.id, json!({})).await;
    server.delete(&format!("/api/tokens/{}", revoked.token_id)).client().send().await.ok(200);
    let disabled = server.user("disabled").await;
    server
        .call("PATCH", &format!("/api/users/{}", disabled.id))
        .client()
        .json(&json!({ "disabled": true }))
        .send()
        .await
        .ok(200);
    let brief = server.token(ada.id, json!({ "expiresIn": "1s" })).await;
    server.advance(Duration::from_secs(1)).await;
    let (head, _) = ada.token.rsplit_once('.').unwrap();
    vec![
        ("x".to_owned(), "token_invalid", 4501),
        (format!("{head}.AAAA"), "token_invalid", 4501),
        (revoked.token, "token_revoked", 4501),
        (disabled.token, "user_disabled", 4501),
        (brief.token, "token_expired", 4001),
    ]
}

async fn a_bad_token_in_the_header_is_a_401(database: Arc<Database>) {
    let server = Server::start(&database).await;
    for (token, code, _) in bad_tokens(&server).await {
        for path in ["/ws", "/"] {
            let call = server.get(path).bearer(&token).header("connection", "upgrade").header("upgrade", "websocket");
            let call = call.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
            call.send().await.refused(401, code);
        }
    }
    assert_eq!(server.sessions.count(), 0);
}

async fn two_authorization_fields_are_a_401_by_either_way_in(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let field = format!("authorization: Bearer {}\r\n", ada.token);
    let short_way = server.listen(|options| options.pre_upgrade = server.pre_upgrade.clone());
    for (addr, is_short) in [(short_way, true), (server.addr, false)] {
        for path in ["/ws", "/"] {
            let mut one = Raw::request(addr, &upgrade(path, &field), b"").await;
            assert!(one.head.starts_with("HTTP/1.1 101 "), "{}", one.head);
            // The HTTP library adds `Date`, and the fast path does not.
            assert_eq!(!one.head.to_lowercase().contains("\r\ndate:"), is_short, "{}", one.head);
            assert_eq!(one.read().await.json()["type"], "hello");
            // Which of the two would count is ambiguous: a proxy in front may have checked the other.
            for second in [&field, "authorization: Basic YTpi\r\n"] {
                let mut two = Raw::request(addr, &upgrade(path, &format!("{field}{second}")), b"").await;
                assert!(two.head.starts_with("HTTP/1.1 401 "), "{}", two.head);
                assert_eq!(two.body().await["code"], "token_invalid");
            }
        }
    }
}

async fn a_page_gets_the_error_of_a_bad_token(database: Arc<Database>) {
    let server = Server::start(&database).await;
    for (token, code, close) in bad_tokens(&server).await {
        for way in WAYS {
            let mut client = open(&server, way, &token).await;
            let error = client.refused(code).await;
            assert_eq!(error["retryable"], false);
            if matches!(way, Way::FirstFrame) {
                assert_eq!(error["ref"], "first", "an answer carries the frame's ref");
            }
            assert_eq!(client.closed(close).await, code, "{way:?}");
        }
    }
    assert_eq!(server.sessions.count(), 0);
}

async fn a_connection_without_a_token_in_time_is_closed(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::times(|times| times.authenticate = Duration::from_millis(200))).await;
    let mut silent = Client::open(server.addr, "/ws", &[]).await;
    let mut chatty = Client::open(server.addr, "/", &[]).await;
    chatty.send(json!({ "type": "ping" })).await;
    chatty.refused("not_authenticated").await;
    for client in [&mut silent, &mut chatty] {
        client.refused("not_authenticated").await;
        assert_eq!(client.closed(4502).await, "not_authenticated");
    }
}

async fn fragments_do_not_extend_the_time_to_authenticate(database: Arc<Database>) {
    let mut setup = Setup::times(|times| times.authenticate = Duration::from_millis(200));
    (setup.limits.messages_per_second, setup.limits.message_burst) = (20, 100);
    let server = Server::start_with(&database, setup).await;
    let mut raw = Raw::request(server.addr, &upgrade("/ws", ""), &frame(0x01, b" ")).await;
    // There are more fragments than the server reads without a pause, and some more after each pause, so that it always has
    // something to read.
    let closed = async {
        raw.write(&frame(0x00, b" ").repeat(4_000)).await;
        loop {
            tokio::select! {
                _ = raw.tcp.readable() => break raw.read().await,
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            raw.write(&frame(0x00, b" ").repeat(40)).await;
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), closed).await.expect("it may stay for ever");
    assert_eq!(refused.json()["code"], "not_authenticated");
    raw.closed(4502).await;
}

async fn frames_before_the_token_are_refused_and_harmless(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = Client::open(server.addr, "/ws", &[]).await;
    for frame in [
        json!({ "type": "ping" }),
        json!({ "type": "join", "roomId": room }),
        json!({ "type": "leave", "roomId": room }),
        json!({ "type": "message", "roomId": room, "content": "x", "clientMessageId": "c" }),
    ] {
        let answer = client.ask(frame.clone()).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_authenticated")), "{frame}");
    }
    client.send_text("{").await;
    client.refused("malformed").await;
    client.send(json!({ "type": "ping", "ref": "r".repeat(65) })).await;
    assert_eq!(client.refused("invalid").await.get("ref"), None, "what is too long is not repeated");
    client.send(json!({ "type": "auth", "token": ada.token })).await;
    client.expect("hello").await;
    client.expect("auth_ok").await;
    assert_eq!(server.events(room).await.len(), 2, "nothing was posted");
    client.quiet().await;
}

async fn another_token_of_the_same_user_is_accepted(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::times(|times| times.look = Duration::from_millis(20))).await;
    let (room, ada, _) = server.pair().await;
    let brief = server.token(ada.id, json!({ "expiresIn": "1m" })).await;
    let mut client = server.connect(&brief.token).await;
    assert_eq!(client.hello["expiresAt"], "2026-11-22T09:57:10.000Z");
    client.join(room, json!({})).await;
    let answer = client.ask(json!({ "type": "auth", "token": ada.token })).await;
    assert_eq!(
        answer,
        json!({ "type": "auth_ok", "userId": ada.id, "expiresAt": "2026-11-29T09:56:10.000Z", "ref": answer["ref"] })
    );
    server.advance(Duration::from_secs(3_600)).await;
    client.post(room, "still here").await;
    client.expect("new_message").await;
    // The first token does not count any more, so its revocation has no effect.
    server.delete(&format!("/api/tokens/{}", brief.token_id)).client().send().await.ok(200);
    client.quiet().await;
    server.delete(&format!("/api/tokens/{}", ada.token_id)).client().send().await.ok(200);
    client.refused("token_revoked").await;
    client.closed(4501).await;
}

async fn a_token_of_another_user_is_rejected(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let answer = client.ask(json!({ "type": "auth", "token": bob.token })).await;
    assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_yourself")));
    assert!(!answer["message"].as_str().unwrap().contains("`userId`"), "it says what to do here: {answer}");
    client.join(room, json!({})).await;
    client.post(room, "as ada").await;
    assert_eq!(client.expect("new_message").await["message"]["user"]["username"], "ada");
}

async fn a_bad_token_later_changes_nothing(database: Arc<Database>) {
    let server = Server::start(&database).await;
    for (number, (token, code, _)) in bad_tokens(&server).await.into_iter().enumerate() {
        let Person { token: good, .. } = server.user(&format!("user {number}")).await;
        let mut client = server.connect(&good).await;
        let answer = client.ask(json!({ "type": "auth", "token": token })).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)));
        client.quiet().await;
    }
}

async fn a_users_connections_are_limited(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::limits(|limits| limits.connections_per_user = 2)).await;
    let (ada, bob) = (server.user("ada").await, server.user("bob").await);
    let (mut first, _second) = (server.connect(&ada.token).await, server.connect(&ada.token).await);
    let mut third = open(&server, Way::Query, &ada.token).await;
    third.refused("too_many_connections").await;
    third.closed(4029).await;
    server.connect(&bob.token).await.quiet().await;
    first.close(1000, "").await;
    first.closed(1000).await;
    // The connection counts until the server has seen its end.
    let mut tries = 0;
    loop {
        let mut again = open(&server, Way::Query, &ada.token).await;
        if again.frame().await["type"] == "hello" {
            return;
        }
        tries += 1;
        assert!(tries < 10_000, "the place was never given back");
    }
}

/// The connection is subscribed with a CLIENT token's access; only the store knows whether the newer token has access.
async fn a_newer_token_that_cannot_be_checked_closes_the_connection(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let body = json!({ "userId": ada.id, "email": "backend@example.org" });
    let minted = server.post("/api/tokens/client", &body).bearer(&server.client_token).send().await.ok(201);
    let mut client = server.connect(minted["token"].as_str().unwrap()).await;
    client.join(room, json!({})).await;
    // This caches the token on this node, so that it need not be read.
    server.connect(&ada.token).await;
    server.backend.chat.store.close().await;
    client.send(json!({ "type": "auth", "token": ada.token })).await;
    client.closed(1013).await;
}
