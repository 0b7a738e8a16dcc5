//! Tests of the whole product: a new server, one user on the demo page in Chromium, another on a third-party WebSocket client,
//! a thousand lines of real text between them, and a `kill -9` half way.
//!
//! Needs Chromium, Node.js and Python (`cargo xtask test` finds or installs them), and for the second test PostgreSQL.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::Driver;
use crate::needs::{self, Needs};
use crate::server::{Api, Server};

const LINES: usize = 1_000;
/// The number of acknowledged lines before the server is killed.
const HALF_WAY: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_thousand_lines_survive_a_kill() {
    let Some(needs) = needs::browser_and_python() else { return };
    walk(&needs, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_thousand_lines_survive_a_kill() {
    let Some(needs) = needs::browser_and_python() else { return };
    let Some(database) = needs::postgres_database().await else { return };
    walk(&needs, Some(&database.url)).await;
    database.drop().await;
}

#[tokio::test]
async fn the_demo_page_passes_its_unit_tests() {
    let Some(needs) = needs::browser_and_python() else { return };
    let status = tokio::process::Command::new(&needs.node).arg("--test").current_dir(needs.e2e("")).status().await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_page_reports_errors_and_uses_no_other_users_name() {
    let Some(needs) = needs::browser_and_python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data, 0, &[]).await;
    let token_file = data.join("client-token");
    let token = std::fs::read_to_string(&token_file).unwrap();
    let api = Api::new(&server.url(), token.trim());
    let script = needs.e2e("demo.mjs");
    let url = server.url();
    let mut page = Driver::spawn(
        &needs.node,
        &[
            script.as_str(),
            "--url",
            &url,
            "--chromium",
            &needs.chromium,
            "--mode",
            "token",
            "--token-file",
            token_file.to_str().unwrap(),
            "--names",
            "alice",
            "--timeout",
            "60000",
        ],
    );
    page.line_with("ready").await;

    for (fragment, code) in [
        ("#invite=%E0%A4%A", "invite_damaged"),
        ("#invite=%", "invite_damaged"),
        ("#invite=", "invite_damaged"),
        ("#invite", "invite_damaged"),
        ("#invite=a b", "invite_damaged"),
        ("#invite=%00%3Cimg%3E", "invite_damaged"),
        ("#invite=abc", ""),
        ("#%E0%A4%A", ""),
        ("", ""),
    ] {
        let shown = page.ask(json!({"do": "arrive", "fragment": fragment})).await;
        assert_eq!((&shown["view"], &shown["code"]), (&json!("enter"), &json!(code)), "{fragment}: {shown}");
    }
    for stored in ["{", "null", "{}", "[]", r#"{"token":"x"}"#, r#"{"token":1,"user":null}"#] {
        let shown = page.ask(json!({"do": "arrive", "fragment": "", "stored": stored})).await;
        assert_eq!(shown["view"], "enter", "{stored}: {shown}");
    }

    // Ada exists. The page tries ada too, which the server would allow if names could differ only in case.
    api.post("/api/users", &json!({"username": "Ada"})).await;
    for name in ["ada", "ada", "Ada"] {
        let shown = page.ask(json!({"do": "enter_as", "name": name})).await;
        let refused = shown["view"] == "enter" && shown["code"] == "name_alike";
        assert!(refused || (shown["view"] == "chat" && shown["as"] == name), "{name}: {shown}");
    }
    page.quit().await;
    server.stop(Duration::from_secs(10)).await;
}

fn environment(database: Option<&str>) -> Vec<(&'static str, String)> {
    database.map(|url| ("DATABASE_URL", url.to_owned())).into_iter().collect()
}

async fn walk(needs: &Needs, database: Option<&str>) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data, 0, &environment(database)).await;
    let client_token = std::fs::read_to_string(data.join("client-token")).unwrap();
    let api = Api::new(&server.url(), client_token.trim());

    // Alice enters through the demo page, which creates her user and the room.
    let mut alice = Driver::spawn(
        &needs.node,
        &[
            needs.e2e("demo.mjs").as_str(),
            "--url",
            &server.url(),
            "--chromium",
            &needs.chromium,
            "--mode",
            "token",
            "--token-file",
            data.join("client-token").to_str().unwrap(),
            "--names",
            "alice",
            "--timeout",
            "60000",
        ],
    );
    alice.line_with("ready").await;
    let rooms = api.get("/api/rooms").await;
    let room = rooms[0]["id"].as_str().unwrap().to_owned();

    // The backend creates Bob, who uses a client that shares no code with ours.
    let bob = api.post("/api/users", &json!({"username": "bob"})).await;
    let bob_id = bob["user"]["id"].as_str().unwrap();
    api.post(&format!("/api/rooms/{room}/users"), &json!({"userId": bob_id})).await;
    let websocket = format!("{}/ws", server.url().replace("http", "ws"));
    let lines_file = needs.e2e("lines.txt");
    let mut bob = Driver::spawn(
        &needs.python,
        &[
            needs.e2e("chat.py").as_str(),
            "--url",
            &websocket,
            "--token",
            bob["token"].as_str().unwrap(),
            "--room",
            &room,
            "--since",
            "0",
        ],
    );

    bob.ask(json!({"do": "send_file", "file": lines_file, "from": 0, "to": LINES, "window": 16, "prefix": "line-"})).await;
    bob.ask(json!({"do": "wait_ack_count", "count": HALF_WAY, "timeoutMs": 60_000})).await;
    let port = server.kill().await;
    let server = Server::start(&data, port, &environment(database)).await;
    bob.ask(json!({"do": "wait_acked", "timeoutMs": 120_000})).await;

    let acks = bob.ask(json!({"do": "acks"})).await["acks"].clone();
    let head = acks.as_object().unwrap().values().filter_map(Value::as_u64).max().unwrap();
    bob.ask(json!({"do": "wait_seq", "seq": head})).await;
    alice.ask(json!({"do": "wait_seq", "page": 0, "seq": head, "timeoutMs": 60_000})).await;
    alice.ask(json!({"do": "sound", "page": 0})).await;

    // Alice answers, and Bob reads it.
    alice.ask(json!({"do": "send", "page": 0, "text": "and what is the use of a book without a reply?"})).await;
    alice.ask(json!({"do": "wait_settled", "page": 0})).await;
    bob.ask(json!({"do": "wait_seq", "seq": head + 1})).await;

    let text = std::fs::read_to_string(&lines_file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), LINES);
    let of_bob = |log: &[(u64, String)]| log.iter().map(|(_, content)| content.clone()).collect::<Vec<_>>();

    let stored = api.history(&room).await;
    let stored: Vec<(u64, String)> = stored
        .iter()
        .filter(|message| message["user"]["username"] == "bob")
        .map(|message| (message["seq"].as_u64().unwrap(), message["content"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(of_bob(&stored), lines, "the store holds each line once, in order");
    let stored: HashMap<u64, String> = stored.into_iter().collect();
    assert_eq!(acks.as_object().unwrap().len(), LINES);
    for (id, seq) in acks.as_object().unwrap() {
        let number: usize = id.strip_prefix("line-").unwrap().parse().unwrap();
        assert_eq!(stored[&seq.as_u64().unwrap()], lines[number], "what was acknowledged is there under its number");
    }

    let log = bob.ask(json!({"do": "log"})).await;
    let seen_by_bob: Vec<&str> = log["log"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["userId"] == bob_id)
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(seen_by_bob, lines, "the WebSocket client saw each line once, in order");
    let stats = bob.ask(json!({"do": "stats"})).await;
    assert!(stats["connections"].as_u64().unwrap() >= 2, "the kill was noticed: {stats}");

    let log = alice.ask(json!({"do": "log", "page": 0})).await;
    let seen_by_alice: Vec<&str> =
        log["lines"].as_array().unwrap().iter().filter(|line| line[2] == "bob").map(|line| line[1].as_str().unwrap()).collect();
    // The page shows the lines from before it entered and all since.
    assert_eq!(seen_by_alice, lines, "the demo page saw each line once, in order");

    alice.quit().await;
    bob.quit().await;
    server.stop(Duration::from_secs(10)).await;
}
