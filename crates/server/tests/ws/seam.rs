//! Tests of the transition from replay to live delivery under constant writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chatsphere_core::RoomId;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::client::{Client, is_event, number, page_seqs};
use crate::database::Database;
use crate::on_every_database;
use crate::server::Server;

on_every_database!(a_join_under_load_has_no_gap_and_no_duplicate);

const JOINERS: u64 = 24;
const JOINS: usize = 8;

async fn a_join_under_load_has_no_gap_and_no_duplicate(database: Arc<Database>) {
    let server = Arc::new(Server::start(&database).await);
    let (room, ada, bob) = server.pair().await;
    server.fill(room, &ada, (3..=300).map(|n| n.to_string())).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = [ada, bob.clone()]
        .into_iter()
        .map(|person| {
            let (server, done) = (server.clone(), done.clone());
            tokio::spawn(async move {
                let mut client = server.connect(&person.token).await;
                while !done.load(Ordering::SeqCst) {
                    // Several at once, so that they share a commit.
                    for _ in 0..4 {
                        client.feed(json!({ "type": "message", "roomId": room, "content": "x", "ref": "m" })).await;
                    }
                    client.flush().await;
                    for _ in 0..4 {
                        client.expect("ack").await;
                    }
                }
            })
        })
        .collect();
    let seed: u64 = std::env::var("CHATSPHERE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("replay with CHATSPHERE_SEED={seed}");
    let joiners: Vec<_> = (0..JOINERS)
        .map(|n| {
            let (server, token) = (server.clone(), bob.token.clone());
            tokio::spawn(async move {
                let mut rng = rand::rngs::StdRng::seed_from_u64(seed.wrapping_add(n));
                let mut client = server.connect(&token).await;
                for _ in 0..JOINS {
                    listen(&mut client, room, &mut rng).await;
                }
            })
        })
        .collect();
    for joiner in joiners {
        joiner.await.expect("a seam without a fault");
    }
    done.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("a writer");
    }
}

/// Joins from a random `since`, receives for a while, and leaves.
async fn listen(client: &mut Client, room: RoomId, rng: &mut impl Rng) {
    let since = rng.random_bool(0.8).then(|| rng.random_range(0..300_u64));
    client.send(json!({ "type": "join", "roomId": room, "since": since, "ref": "j" })).await;
    let confirmation = client.expect("join_confirmation").await;
    assert_eq!(confirmation["recovered"], since.is_some());
    let mut cursor = since.unwrap_or(number(&confirmation["seq"]) - 50);
    loop {
        let page = client.expect("previous_messages").await;
        assert_eq!(number(&page["fromSeq"]), cursor + 1);
        cursor = number(&page["toSeq"]);
        assert_eq!(page_seqs(&page), (number(&page["fromSeq"])..=cursor).collect::<Vec<_>>());
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(confirmation["seq"], cursor, "what is replayed ends where the confirmation says");
    for _ in 0..rng.random_range(0..60) {
        let event = client.expect("new_message").await;
        assert_eq!(number(&event["seq"]), cursor + 1);
        cursor += 1;
    }
    client.send(json!({ "type": "leave", "roomId": room, "ref": "l" })).await;
    loop {
        let frame: Value = client.frame().await;
        if !is_event(&frame) {
            assert_eq!(frame["type"], "leave_confirmation");
            return;
        }
        assert_eq!(number(&frame["seq"]), cursor + 1);
        cursor += 1;
    }
}
