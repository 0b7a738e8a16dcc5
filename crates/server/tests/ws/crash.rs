//! Tests that after a `kill -9` during traffic every acknowledged message is stored once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{AMPLE, Client, Got, number};
use crate::database::Database;
use crate::on_every_database;

on_every_database!(no_acknowledged_message_is_lost_by_a_kill);

struct Program {
    child: Child,
    addr: SocketAddr,
}

impl Program {
    fn start(database: &Database, log: &Path) -> Self {
        let output = std::fs::File::create(log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_chatsphere"))
            .args(["serve", "--data-dir"])
            .arg(database.directory.path().join("data"))
            .env("PORT", "0")
            .env("DATABASE_URL", &database.text)
            .env("CHATSPHERE_RATE_LIMIT", "off")
            .env("CHATSPHERE_LOG_FORMAT", "json")
            .current_dir(database.directory.path())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // From here on, dropping this kills the program.
        let mut program = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let begun = Instant::now();
        loop {
            let text = std::fs::File::open(log).unwrap();
            let addr = BufReader::new(text).lines().map_while(Result::ok).find_map(|line| {
                let line: Value = serde_json::from_str(&line).ok()?;
                let fields = if line["fields"].is_object() { &line["fields"] } else { &line };
                (fields["message"] == "listening").then(|| fields["addr"].as_str()?.parse().ok()).flatten()
            });
            if let Some(addr) = addr {
                program.addr = addr;
                return program;
            }
            assert!(begun.elapsed() < AMPLE, "{}", std::fs::read_to_string(log).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The state of a client that follows the documentation.
#[derive(Default)]
struct Kept {
    cursor: u64,
    epoch: Value,
    /// Every received event by its number.
    seen: BTreeMap<u64, Value>,
    /// Messages without an `ack`, by their `clientMessageId`.
    unanswered: BTreeMap<u64, ()>,
    acked: BTreeMap<u64, u64>,
    next: u64,
}

impl Kept {
    fn see(&mut self, seq: u64, id: Value) {
        assert_eq!(seq, self.cursor + 1, "in order, each once");
        self.cursor = seq;
        assert_eq!(self.seen.insert(seq, id), None);
    }

    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "ack" => {
                let id: u64 = frame["clientMessageId"].as_str().unwrap().parse().unwrap();
                self.unanswered.remove(&id);
                assert!(self.acked.insert(id, number(&frame["seq"])).is_none_or(|seq| seq == number(&frame["seq"])));
            }
            "join_confirmation" => {
                assert!(self.epoch.is_null() || frame["recovered"] == true, "{frame}");
                self.epoch = frame["epoch"].clone();
            }
            "previous_messages" => {
                let mut events: Vec<_> =
                    frame["messages"].as_array().unwrap().iter().chain(frame["events"].as_array().unwrap()).collect();
                events.sort_by_key(|event| number(&event["seq"]));
                for event in events {
                    self.see(number(&event["seq"]), event["clientMessageId"].clone());
                }
                assert_eq!(self.cursor, number(&frame["toSeq"]));
            }
            "new_message" => self.see(number(&frame["seq"]), frame["message"]["clientMessageId"].clone()),
            _ => panic!("{frame}"),
        }
    }
}

fn message(room: &str, id: u64) -> Value {
    json!({ "type": "message", "roomId": room, "content": format!("message {id}"), "clientMessageId": id.to_string() })
}

async fn no_acknowledged_message_is_lost_by_a_kill(database: Arc<Database>) {
    let log = database.directory.path().join("log");
    let mut program = Program::start(&database, &log);
    let token = std::fs::read_to_string(database.directory.path().join("data/client-token")).unwrap();
    let token = token.trim().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/rooms", program.addr);
    let room = http.post(url).bearer_auth(&token).header("content-type", "application/json").body(r#"{"name":"lobby"}"#);
    let room: Value = serde_json::from_slice(&room.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let room = room["id"].as_str().unwrap().to_owned();

    let mut kept = Kept::default();
    for round in 0..5 {
        let mut client = Client::connect(program.addr, &token).await;
        client.send(json!({ "type": "join", "roomId": room, "since": kept.cursor, "epoch": kept.epoch })).await;
        for id in kept.unanswered.keys() {
            client.feed(message(&room, *id)).await;
        }
        client.flush().await;
        let mut killed = false;
        let answered = kept.acked.len();
        loop {
            while !killed && kept.unanswered.len() < 50 {
                kept.next += 1;
                kept.unanswered.insert(kept.next, ());
                client.feed(message(&room, kept.next)).await;
            }
            if !killed {
                client.flush().await;
            }
            match client.next().await {
                Got::Frame(frame) => kept.take(&frame),
                _ => break,
            }
            if !killed && kept.acked.len() > answered + 100 + round * 37 {
                program.kill();
                killed = true;
            }
        }
        assert!(killed, "the server ended by itself");
        program = Program::start(&database, &log);
    }
    let mut client = Client::connect(program.addr, &token).await;
    client.send(json!({ "type": "join", "roomId": room, "since": kept.cursor, "epoch": kept.epoch })).await;
    for id in kept.unanswered.keys() {
        client.send(message(&room, *id)).await;
    }
    while !kept.unanswered.is_empty() || (kept.seen.len() as u64) < kept.next + 1 {
        let frame = client.frame().await;
        kept.take(&frame);
    }
    for (id, seq) in &kept.acked {
        assert_eq!(kept.seen[seq], id.to_string(), "what was acknowledged is there, where it was said to be");
    }
    assert_eq!(kept.acked.len() as u64, kept.next);
    assert_eq!(kept.seen.len() as u64, kept.next + 1, "each once");
    client.quiet().await;
}
