//! Tests of pings, and of closing silent connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::database::Database;
use crate::on_every_database;
use crate::raw::{PING, PONG, Raw, TEXT, frame};
use crate::server::{Server, Setup};

on_every_database!(the_server_pings, the_silent_are_dropped, any_frame_is_a_sign_of_life);

fn setup(heartbeat: u64, silence: u64) -> Setup {
    let mut setup = Setup::limits(|limits| limits.heartbeat = Duration::from_millis(heartbeat));
    setup.times.look = Duration::from_millis(10);
    setup.times.silence = Duration::from_millis(silence);
    setup
}

async fn the_server_pings(database: Arc<Database>) {
    let server = Server::start_with(&database, setup(200, 60_000)).await;
    let ada = server.user("ada").await;
    let begun = Instant::now();
    let mut raw = Raw::connect(server.addr, &ada.token).await;
    for n in 0..5 {
        let ping = raw.read().await;
        assert_eq!((ping.first, &ping.payload[..]), (PING, &b""[..]));
        // The first ping may come up to a half of the interval early, the others up to a tenth.
        assert!(begun.elapsed() >= Duration::from_millis(99 + n * 180), "{n}: {:?}", begun.elapsed());
        raw.write(&frame(PONG, b"")).await;
    }
    assert_eq!(server.connect(&ada.token).await.hello["heartbeatMs"], 200);
}

async fn the_silent_are_dropped(database: Arc<Database>) {
    let server = Server::start_with(&database, setup(300, 300)).await;
    let ada = server.user("ada").await;
    let begun = Instant::now();
    let mut silent = Raw::connect(server.addr, &ada.token).await;
    let mut pings = 0;
    while let Some(frame) = silent.try_read().await {
        assert_eq!(frame.first, PING, "without a word");
        pings += 1;
    }
    assert!(pings >= 1);
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    assert_eq!(server.sessions.count(), 0);
}

async fn any_frame_is_a_sign_of_life(database: Arc<Database>) {
    let server = Server::start_with(&database, setup(2_000, 1_000)).await;
    let (room, ada, bob) = server.pair().await;
    let signs = [
        frame(PONG, b""),
        frame(PING, b""),
        frame(TEXT, br#"{"type":"ping"}"#),
        frame(TEXT, b"nonsense"),
        frame(TEXT, json!({ "type": "message", "roomId": room, "content": "x" }).to_string().as_bytes()),
        // An incomplete frame, sent byte by byte.
        vec![TEXT, 0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ];
    let mut clients = Vec::new();
    for sign in signs {
        clients.push((Raw::connect(server.addr, &ada.token).await, sign));
    }
    let mut silent = Raw::connect(server.addr, &bob.token).await;
    let gone = tokio::spawn(async move { while silent.try_read().await.is_some() {} });
    let mut rounds = 0;
    while !gone.is_finished() {
        // This test is about the time between signs of life, so it sleeps.
        tokio::time::sleep(Duration::from_millis(250)).await;
        for (client, sign) in &mut clients {
            let part = if sign.starts_with(&[TEXT, 0xfd]) { &sign[rounds % sign.len()..][..1] } else { &sign[..] };
            client.write(part).await;
        }
        rounds += 1;
        assert!(rounds < 200, "the silent one was not dropped");
    }
    assert_eq!(server.sessions.count(), clients.len());
}
