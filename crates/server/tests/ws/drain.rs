//! Tests of the graceful shutdown of a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatsphere::config::Settings;
use chatsphere::serve;
use chatsphere_core::SystemClock;
use serde_json::json;

use crate::client::{Client, Got};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::Raw;
use crate::server::Server;

on_every_database!(accepted_frames_are_answered_before_the_end, a_replay_does_not_delay_the_shutdown, a_whole_server_ends);

async fn accepted_frames_are_answered_before_the_end(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, _) = server.pair().await;
    let mut client = server.connect(&ada.token).await;
    let mut waiting = Client::open(server.addr, "/ws", &[]).await;
    for n in 0..200 {
        client.feed(json!({ "type": "message", "roomId": room, "content": n.to_string(), "ref": n.to_string() })).await;
    }
    client.flush().await;
    client.expect("ack").await;
    server.stopping.cancel();
    let (mut acked, mut retry_after) = (1, None);
    let reason = loop {
        match client.next().await {
            Got::Frame(frame) if frame["type"] == "closing" => {
                assert_eq!(frame["code"], 1001);
                retry_after = frame["retryAfterMs"].as_u64();
            }
            Got::Frame(frame) => {
                assert_eq!((&frame["type"], &frame["ref"]), (&json!("ack"), &json!(acked.to_string())));
                acked += 1;
            }
            Got::Close(1001, reason) => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(client.next().await, Got::End);
    let delay = reason.strip_prefix("the server is restarting: reconnect in ").and_then(|rest| rest.strip_suffix(" ms"));
    let delay: u64 = delay.expect("a hint").parse().expect("a number");
    assert!((200..=2_000).contains(&delay));
    assert_eq!(retry_after, Some(delay), "the frame says what the reason says");
    waiting.closed(1001).await;
    // The stored messages are the acknowledged ones: none was accepted and left without an answer.
    assert_eq!(server.events(room).await.len(), acked + 2);
    let answer = server.get("/ws").bearer(&ada.token).header("connection", "upgrade").header("upgrade", "websocket");
    let answer = answer.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    answer.send().await.refused(503, "stopping");
    server.expect_faults(1);
    server.tasks.close();
    server.tasks.wait().await;
    assert_eq!(server.sessions.count(), 0);
}

async fn a_replay_does_not_delay_the_shutdown(database: Arc<Database>) {
    let server = Server::start(&database).await;
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (0..600).map(|_| "x".repeat(16 * 1024))).await;
    let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room, "since": 0 })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    let begun = Instant::now();
    server.stopping.cancel();
    server.tasks.close();
    server.tasks.wait().await;
    // The shutdown may take the time for the close frame and its answer, but not the 10 s for a replay without progress.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

async fn a_whole_server_ends(database: Arc<Database>) {
    let settings = Settings {
        data_dir: database.directory.path().join("data"),
        port: 0,
        database_url: Some(database.url.clone()),
        ..Settings::default()
    };
    let running = serve::start(settings.clone(), Arc::new(SystemClock)).await.expect("a server");
    let token = running.first_token().expect("the first start").token.clone();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::connect(running.http_addr(), &token).await);
    }
    let addr = running.http_addr();
    let begun = Instant::now();
    let (stored, ()) = tokio::join!(running.shutdown(), async {
        for client in &mut clients {
            assert!(client.closed(1001).await.contains("reconnect in"));
        }
    });
    assert!(stored);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    let again = serve::start(settings, Arc::new(SystemClock)).await.expect("a server");
    Client::connect(again.http_addr(), &token).await.quiet().await;
    again.shutdown().await;
}
