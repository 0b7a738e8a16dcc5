//! Tests with a PostgreSQL server that stops and returns.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chatsphere_core::{Access, Error, EventKind, RoomId, Seq, Unavailable, UserId};

use crate::fixture::{Fixture, Node};
use crate::postgres_server::{PostgresServer, Stop};
use crate::world::{World, all_events, client_id, new_message};

/// The longest time until any answer, whatever happens to the server.
const BOUND: Duration = Duration::from_secs(30);

fn fixture(server: &PostgresServer) -> Fixture {
    Fixture::on(server.url().parse().unwrap())
}

/// Retries a message until it is acknowledged, as a client does. Returns its content and number.
async fn send(node: &Node, room: RoomId, author: UserId, client: &str) -> (String, Seq) {
    loop {
        let mut new = new_message(room, author, client);
        new.client_message_id = Some(client_id(client));
        let asked = Instant::now();
        let answer = tokio::time::timeout(BOUND, node.store.submit(new)).await.expect("an answer in time");
        match answer {
            Ok(done) => return (client.to_owned(), done.value.seq),
            Err(Error::Unavailable(Unavailable::StoreAway | Unavailable::OutcomeUnknown)) => {
                assert!(asked.elapsed() < BOUND);
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_when_the_server_is_stopped_under_load() {
    let Some(mut server) = PostgresServer::start().await else { return };
    let world = World::new(&fixture(&server)).await;
    let rooms = [world.room().await.id, world.room().await.id, world.room().await.id];
    let stored = Arc::new(AtomicUsize::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..20_usize {
        let (node, author, stored) = (world.node.clone(), world.ada.id, Arc::clone(&stored));
        senders.spawn(async move {
            let mut told = Vec::new();
            for number in 0..150 {
                let room = rooms[(sender + number) % 3];
                let (client, seq) = send(&node, room, author, &format!("{sender}/{number}")).await;
                told.push((room, client, seq));
                stored.fetch_add(1, Ordering::Relaxed);
            }
            told
        });
    }
    for (count, how) in [(200, Stop::Fast), (900, Stop::Immediate), (1600, Stop::Immediate), (2300, Stop::Fast)] {
        while stored.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
        server.stop(how);
        server.run().await;
    }
    let told: Vec<_> = senders.join_all().await.into_iter().flatten().collect();
    assert_eq!(told.len(), 3000);
    let mut in_store = BTreeMap::new();
    for room in rooms {
        let events = all_events(&world.node, room).await;
        let row = world.node.store.room(room, Access::Any).await.unwrap();
        assert_eq!((row.seq.get(), row.message_count), (events.len() as u64, events.len() as u64 - 1));
        for event in events {
            if let EventKind::Message(message) = event.kind {
                let client = message.client_message_id.unwrap().as_str().to_owned();
                assert_eq!(in_store.insert((room, client), message.seq), None, "stored twice");
            }
        }
    }
    assert_eq!(in_store.len(), told.len());
    for (room, client, seq) in told {
        assert_eq!(in_store.get(&(room, client)), Some(&seq));
    }
    // The sink's events are in order, although some commits that were not answered may be missing.
    for room in rooms {
        let seqs: Vec<_> =
            world.node.sink.events().iter().filter(|event| event.room_id == room).map(|event| event.seq).collect();
        assert!(seqs.is_sorted_by(|a, b| a < b));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_are_answered_during_an_outage_and_a_restart_is_bridged() {
    let Some(mut server) = PostgresServer::start().await else { return };
    let world = World::new(&fixture(&server)).await;
    let room = world.room().await.id;
    let store = &world.node.store;
    server.stop(Stop::Fast);
    let away = Unavailable::StoreAway.into();
    let asked = Instant::now();
    assert_eq!(store.room(room, Access::Any).await.as_ref(), Err(&away));
    assert_eq!(store.ping().await.as_ref(), Err(&away));
    assert_eq!(store.submit(new_message(room, world.ada.id, "too early")).await.as_ref(), Err(&away));
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    // A write that waits while the server returns is stored.
    let waiting = store.submit(new_message(room, world.ada.id, "just in time"));
    server.run().await;
    let started = Instant::now();
    assert_eq!(waiting.await.unwrap().value.seq, Seq::new(2));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(store.room(room, Access::Any).await.unwrap().seq, Seq::new(2));
    // An idle connection that broke meanwhile causes no error.
    server.stop(Stop::Immediate);
    server.run().await;
    store.ping().await.unwrap();
    assert_eq!(world.post(room, "after a restart").await.seq, Seq::new(3));
    // Closing ends also while the server is stopped.
    server.stop(Stop::Fast);
    drop(store.submit(new_message(room, world.ada.id, "never stored")));
    tokio::time::timeout(BOUND, store.close()).await.expect("an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_hangs_is_given_up() {
    let Some(server) = PostgresServer::start().await else { return };
    let world = World::new(&fixture(&server)).await;
    let room = world.room().await.id;
    world.post(room, "before").await;
    server.freeze();
    let mut new = new_message(room, world.ada.id, "meanwhile");
    new.client_message_id = Some(client_id("c"));
    let (read, written) = tokio::time::timeout(BOUND, async {
        tokio::join!(world.node.store.room(room, Access::Any), world.node.store.submit(new.clone()))
    })
    .await
    .expect("answers in time");
    assert_eq!(read, Err(Unavailable::StoreAway.into()));
    assert!(matches!(written, Err(Error::Unavailable(Unavailable::StoreAway | Unavailable::OutcomeUnknown))), "{written:?}");
    server.thaw();
    let seq = send(&world.node, room, world.ada.id, "c2").await.1;
    let events = all_events(&world.node, room).await;
    assert_eq!(events.last().map(|event| event.seq), Some(seq));
    world.node.store.ping().await.unwrap();
}
