//! Tests of slow consumers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, number, page_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::raw::{CLOSE, Raw, TEXT};
use crate::server::{Server, Setup};

on_every_database!(
    a_slow_reader_is_closed_and_delays_nobody,
    a_replay_that_is_not_read_is_given_up,
    a_replay_that_is_read_slowly_is_not_given_up,
);

async fn a_slow_reader_is_closed_and_delays_nobody(database: Arc<Database>) {
    // The time-out is long enough that the test can read the close frame.
    let server = Server::start_with(&database, Setup::times(|times| times.close = Duration::from_secs(300))).await;
    let (room, ada, bob) = server.pair().await;
    let mut slow = Raw::connect_narrow(server.addr, &bob.token).await;
    slow.send(&json!({ "type": "join", "roomId": room })).await;
    assert_eq!(slow.read().await.json()["type"], "join_confirmation");
    assert_eq!(slow.read().await.json()["toSeq"], 2);
    let mut fast = server.connect(&bob.token).await;
    fast.join(room, json!({})).await;

    // 16 MB is more than the kernel buffers for one socket, and far more than the queue.
    let reading = tokio::spawn(async move {
        for seq in 3..=1_002 {
            assert_eq!(fast.expect("new_message").await["seq"], seq);
        }
        fast
    });
    for _ in 0..10 {
        server.fill(room, &ada, (0..100).map(|_| "x".repeat(16 * 1024))).await;
    }
    let mut fast = reading.await.expect("a fast reader gets everything");

    let mut cursor = 2;
    let code = loop {
        let frame = slow.read().await;
        match frame.first {
            TEXT if frame.json()["type"] == "closing" => {
                let closing = frame.json();
                assert_eq!(closing["code"], 4008);
                assert!((500..=1_000).contains(&number(&closing["retryAfterMs"])), "{closing}");
            }
            TEXT => {
                cursor += 1;
                assert_eq!(frame.json()["seq"], cursor, "nothing is skipped before the end");
            }
            CLOSE => break frame.code(),
            _ => {}
        }
    };
    assert_eq!(code, 4008);
    assert!(cursor < 1_002);
    assert_eq!(slow.try_read().await, None);

    let mut again = server.connect(&bob.token).await;
    let joined = again.join(room, json!({ "since": cursor })).await;
    assert_eq!(joined.confirmation["recovered"], true);
    assert_eq!(joined.seqs(), (cursor + 1..=1_002).collect::<Vec<_>>());
    server.say(room, &ada, "live").await;
    again.expect("new_message").await;
    fast.expect("new_message").await;
}

/// Creates a room with 30 MB, and a client that has requested all of it.
async fn begin_replay(server: &Server) -> (Client, Raw) {
    let (room, ada, bob) = server.pair().await;
    for _ in 0..10 {
        server.fill(room, &ada, (0..100).map(|_| "x".repeat(30 * 1024))).await;
    }
    let mut raw = Raw::connect_narrow(server.addr, &bob.token).await;
    raw.send(&json!({ "type": "join", "roomId": room, "since": 0 })).await;
    assert_eq!(raw.read().await.json()["type"], "join_confirmation");
    let mut other = server.connect(&bob.token).await;
    other.join(room, json!({})).await;
    (other, raw)
}

async fn a_replay_that_is_not_read_is_given_up(database: Arc<Database>) {
    let setup = Setup::times(|times| {
        times.no_progress = Duration::from_millis(300);
        times.close = Duration::from_millis(300);
    });
    let server = Server::start_with(&database, setup).await;
    let (mut other, raw) = begin_replay(&server).await;
    while server.sessions.count() > 1 {
        // Each answer takes some time, so this is not a busy loop.
        other.quiet().await;
    }
    drop(raw);
    other.quiet().await;
}

async fn a_replay_that_is_read_slowly_is_not_given_up(database: Arc<Database>) {
    let server = Server::start_with(&database, Setup::times(|times| times.no_progress = Duration::from_secs(20))).await;
    let (mut other, mut raw) = begin_replay(&server).await;
    let mut cursor = 0;
    loop {
        // Live events reach the others meanwhile.
        other.quiet().await;
        let frame = raw.read().await;
        if frame.first != TEXT {
            continue;
        }
        let page = frame.json();
        assert_eq!(number(&page["fromSeq"]), cursor + 1);
        cursor = number(&page["toSeq"]);
        assert_eq!(page_seqs(&page), (number(&page["fromSeq"])..=cursor).collect::<Vec<_>>());
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(cursor, 1_002);
}
