//! Tests of accepted and rejected WebSocket handshakes.

use std::sync::Arc;

use axum::http::HeaderValue;
use chatsphere::request::AllowedOrigins;
use serde_json::json;

use crate::client::Client;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT, frame, upgrade};
use crate::server::{Server, Setup};

on_every_database!(
    other_requests_are_told_how_to_open_a_websocket,
    a_proxy_that_drops_the_upgrade_is_told_what_it_lacks,
    the_root_stays_a_page_for_all_others,
    frames_may_come_right_behind_the_request,
    pages_of_other_origins_are_closed,
);

async fn other_requests_are_told_how_to_open_a_websocket(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let answer = server.get("/ws").bearer(&ada.token).send().await;
    assert_eq!(answer.header("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    answer.refused(426, "websocket_handshake");
    // A connection that ignored this would have the rights of its token.
    server.get(&format!("/ws?as={}", ada.id)).bearer(&ada.token).send().await.refused(400, "invalid");
    for headers in ["sec-websocket-version: 12\r\n", "sec-websocket-key: short\r\n"] {
        let (name, _) = headers.split_once(':').unwrap();
        let request: String = upgrade("/ws", headers)
            .lines()
            .filter(|line| !line.starts_with(name) || headers.starts_with(line))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let raw = Raw::request(server.addr, &request, b"").await;
        assert!(raw.head.starts_with("HTTP/1.1 4"), "{request}{}", raw.head);
    }
}

/// The requests that nginx sends if its configuration lacks one line or more.
async fn a_proxy_that_drops_the_upgrade_is_told_what_it_lacks(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let bearer = format!("authorization: Bearer {}\r\n", ada.token);
    for path in ["/ws", "/ws/", "/"] {
        let good = upgrade(path, &bearer);
        let old = good.replace("HTTP/1.1", "HTTP/1.0");
        let without = |text: &str, field: &str| text.replace(field, "");
        let (connection, upgrades) = ("connection: Upgrade\r\n", "upgrade: websocket\r\n");
        for (request, status, reason) in [
            (old.clone(), 426, "proxy_http_version 1.1"),
            (old.replace("connection: Upgrade", "connection: close"), 426, "proxy_http_version 1.1"),
            (without(&without(&old, connection), upgrades), 426, "proxy_http_version 1.1"),
            (without(&good, upgrades), 426, "proxy_set_header Upgrade"),
            (without(&without(&good, connection), upgrades), 426, "proxy_set_header Upgrade"),
            (without(&good, connection), 400, "proxy_set_header Connection"),
            (good.replace("connection: Upgrade", "connection: close"), 400, "proxy_set_header Connection"),
        ] {
            let mut raw = Raw::request(server.addr, &request, b"").await;
            let what = format!("{request}{}", raw.head);
            assert_eq!(raw.head.get(9..12), Some(status.to_string().as_str()), "{what}");
            let head = raw.head.to_ascii_lowercase();
            assert!(status != 426 || head.contains("\r\nupgrade: websocket\r\n"), "{what}");
            let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            tokio::io::AsyncReadExt::read_exact(&mut raw.tcp, &mut body).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], "websocket_handshake");
            assert!(problem["detail"].as_str().unwrap().contains(reason), "{what}{problem}");
        }
        let mut raw = Raw::request(server.addr, &good, b"").await;
        assert_eq!(raw.read().await.json()["type"], "hello", "{path}");
    }
}

async fn the_root_stays_a_page_for_all_others(database: Arc<Database>) {
    let server = Server::start(&database).await;
    assert_eq!(server.get("/").send().await.status, 200);
    let answer = server.get("/").header("connection", "upgrade, http2-settings").header("upgrade", "h2c").send().await;
    assert_eq!(answer.status, 200, "an offer of another protocol may be ignored: {}", answer.text());
}

async fn frames_may_come_right_behind_the_request(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let behind = [
        frame(TEXT, json!({ "type": "auth", "token": ada.token, "ref": "1" }).to_string().as_bytes()),
        frame(TEXT, json!({ "type": "message", "roomId": room, "content": "early", "ref": "2" }).to_string().as_bytes()),
        frame(TEXT, br#"{"type":"ping","ref":"3"}"#)[..7].to_vec(),
    ];
    let mut raw = Raw::request(server.addr, &upgrade("/ws", ""), &behind.concat()).await;
    assert_eq!(raw.read().await.json()["type"], "hello");
    assert_eq!(raw.read().await.json()["type"], "auth_ok");
    assert_eq!(raw.read().await.json()["ref"], "2");
    raw.write(&frame(TEXT, br#"{"type":"ping","ref":"3"}"#)[7..]).await;
    assert_eq!(raw.read().await.json(), json!({ "type": "pong", "ref": "3" }));
}

async fn pages_of_other_origins_are_closed(database: Arc<Database>) {
    let origins = AllowedOrigins::List(vec![HeaderValue::from_static("https://chat.example")]);
    let server = Server::start_with(&database, Setup { origins, ..Setup::default() }).await;
    let ada = server.user("ada").await;
    let path = format!("/ws?token={}", ada.token);
    for origin in ["https://evil.example", "https://chat.example.evil.example", "http://chat.example", "null"] {
        let mut page = Client::open(server.addr, &path, &[("origin", origin)]).await;
        page.refused("origin_not_allowed").await;
        page.closed(4503).await;
    }
    Client::open(server.addr, &path, &[("origin", "https://chat.example")]).await.expect("hello").await;
    // Programs send no `Origin`.
    server.connect(&ada.token).await;
    let anywhere = Server::start(&Arc::new(other(&database))).await;
    let ada = anywhere.user("ada").await;
    let path = format!("/ws?token={}", ada.token);
    Client::open(anywhere.addr, &path, &[("origin", "https://evil.example")]).await.expect("hello").await;
}

/// Makes a separate SQLite database, because allowed origins do not depend on the database.
fn other(database: &Database) -> Database {
    let text = format!("sqlite:{}", database.directory.path().join("other.db").display());
    Database { url: text.parse().unwrap(), text, directory: tempfile::tempdir().unwrap() }
}
