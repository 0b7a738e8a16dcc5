//! What gets to this door, and what does not.

use std::sync::Arc;

use axum::http::HeaderValue;
use chatsphere::http::AllowedOrigins;
use serde_json::json;

use crate::client::Client;
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{Raw, TEXT, frame, upgrade};
use crate::server::{Server, Setup};

on_every_database!(
    what_is_no_websocket_is_told_how_to_be_one,
    the_root_stays_a_page_for_all_others,
    frames_may_come_right_behind_the_request,
    pages_of_other_origins_are_closed,
);

async fn what_is_no_websocket_is_told_how_to_be_one(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let ada = server.user("ada").await;
    let answer = server.get("/ws").bearer(&ada.token).send().await;
    assert_eq!(answer.header("upgrade").map(str::to_lowercase).as_deref(), Some("websocket"));
    answer.refused(426, "websocket_handshake");
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
    // Programs are no pages.
    server.connect(&ada.token).await;
    let anywhere = Server::start(&Arc::new(other(&database))).await;
    let ada = anywhere.user("ada").await;
    let path = format!("/ws?token={}", ada.token);
    Client::open(anywhere.addr, &path, &[("origin", "https://evil.example")]).await.expect("hello").await;
}

/// A database of its own in SQLite: where origins are allowed has nothing to do with the database.
fn other(database: &Database) -> Database {
    let text = format!("sqlite:{}", database.directory.path().join("other.db").display());
    Database { url: text.parse().unwrap(), text, directory: tempfile::tempdir().unwrap() }
}
