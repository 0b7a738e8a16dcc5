//! Tests of the sink: what it gets, when, and in which order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{HistoryRange, MemberRemoval, MembershipChanged, NewMember};
use chatsphere_core::{Access, CommitSink, Committed, Conflict, Error, Event, RoomId, Seq, Unavailable};
use chatsphere_store::QueueBounds;

use crate::fixture::{Fixture, Recorder};
use crate::on_every_database;
use crate::world::{World, all_events, client_id, membership, new_message, new_user, text_of};

on_every_database!(
    the_sink_is_told_before_the_answer_and_after_the_commit,
    the_sink_gets_each_batch_once,
    the_sink_gets_each_room_in_order,
    a_bad_write_does_not_fail_its_batch,
    writes_take_effect_in_the_order_they_were_submitted,
    a_dropped_write_is_carried_out,
    closing_executes_queued_writes,
    a_broken_writer_is_reported,
    a_full_queue_refuses_at_once,
    the_database_answers,
);

/// Checks that the sink got each room's events as 1, 2, 3 …
fn in_order(sink: &Recorder) -> HashMap<RoomId, Vec<Arc<Event>>> {
    let mut rooms: HashMap<RoomId, Vec<Arc<Event>>> = HashMap::new();
    for event in sink.events() {
        let room = rooms.entry(event.room_id).or_default();
        assert_eq!(event.seq.get(), room.len() as u64 + 1);
        room.push(event);
    }
    rooms
}

async fn the_sink_is_told_before_the_answer_and_after_the_commit(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    world.node.sink.hold();
    let mut pending = std::pin::pin!(world.node.store.submit(new_message(room.id, world.ada.id, "hello")));
    world.node.sink.wait_until_held();
    // The sink has the event, every read sees it, and no write was answered.
    assert_eq!(world.node.sink.events().last().and_then(|event| text_of(event).map(str::to_owned)), Some("hello".to_owned()));
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
    let answered = std::future::poll_fn(|context| std::task::Poll::Ready(pending.as_mut().poll(context).is_ready())).await;
    assert!(!answered);
    world.node.sink.release();
    pending.await.unwrap();
}

async fn the_sink_gets_each_batch_once(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let before = world.node.sink.batches().len();
    let pending = world
        .in_one_batch(async || {
            (0..100).map(|n| world.node.store.submit(new_message(room.id, world.ada.id, &n.to_string()))).collect::<Vec<_>>()
        })
        .await;
    for (number, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap().value.seq, Seq::new(number as u64 + 2));
    }
    // Three batches: the decoy's room, the decoy, and the hundred together.
    let batches = world.node.sink.batches();
    assert_eq!(batches.len(), before + 3);
    assert_eq!(batches.last().unwrap().len(), 100);
}

async fn the_sink_gets_each_room_in_order(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let rooms = [world.room().await.id, world.room().await.id, world.room().await.id];
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..20_usize {
        let (store, ada, bob) = (Arc::clone(&world.node.store), world.ada.id, world.bob.id);
        senders.spawn(async move {
            for number in 0..10 {
                let room = rooms[(sender + number) % 3];
                store.submit(new_message(room, ada, "x")).await.unwrap();
                if number % 3 == 0 {
                    store.submit(NewMember(membership(room, bob, ada))).await.unwrap();
                    store.submit(MemberRemoval(membership(room, bob, ada))).await.unwrap();
                }
            }
        });
    }
    senders.join_all().await;
    let told = in_order(&world.node.sink);
    for room in rooms {
        let stored = all_events(&world.node, room).await;
        assert_eq!(told[&room].iter().map(|event| Event::clone(event)).collect::<Vec<_>>(), stored);
    }
}

async fn a_bad_write_does_not_fail_its_batch(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let taken = world.bob.username.as_str();
    let (good, bad, good_too) = world
        .in_one_batch(async || {
            let good = store.submit(new_message(room.id, world.ada.id, "before"));
            let bad = tokio::spawn({
                let (store, user) = (Arc::clone(store), new_user(taken));
                async move { store.submit(user).await }
            });
            (good, bad, store.submit(new_message(room.id, world.ada.id, "after")))
        })
        .await;
    good.await.unwrap();
    assert_eq!(bad.await.unwrap().map(|_| ()), Err(Conflict::UsernameTaken.into()));
    good_too.await.unwrap();

    // The id exists already. Nothing checks that before, so the database rejects the row.
    let first = store.history(room.id, Access::Any, HistoryRange::Newest, 1).await.unwrap().messages[0].id;
    let pending = world
        .in_one_batch(async || {
            (0..7)
                .map(|number| {
                    let mut new = new_message(room.id, world.ada.id, &format!("in one batch {number}"));
                    // Data in memory of a rejected batch must not count as stored.
                    new.client_message_id = Some(client_id(&number.to_string()));
                    if number == 3 {
                        new.id = first;
                    }
                    store.submit(new)
                })
                .collect::<Vec<_>>()
        })
        .await;
    for (number, pending) in pending.into_iter().enumerate() {
        let answer = pending.await;
        if number == 3 {
            assert_eq!(answer, Err(Error::Internal));
        } else {
            assert_eq!(answer.unwrap().value.content.as_str(), format!("in one batch {number}"));
        }
    }
    in_order(&world.node.sink);
    assert_eq!(all_events(&world.node, room.id).await.len(), 3 + 6);
}

async fn writes_take_effect_in_the_order_they_were_submitted(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let (store, ada, bob) = (&world.node.store, world.ada.id, world.bob.id);
    let (before, adding, between, removing, after) = world
        .in_one_batch(async || {
            let say = || store.submit(new_message(room.id, bob, "may I?"));
            let before = say();
            let adding = store.submit(NewMember(membership(room.id, bob, ada)));
            let between = say();
            let removing = store.submit(MemberRemoval(membership(room.id, bob, ada)));
            (before, adding, between, removing, say())
        })
        .await;
    assert!(before.await.is_err());
    assert_eq!(adding.await.unwrap().value, MembershipChanged::At(Seq::new(2)));
    assert_eq!(between.await.unwrap().value.seq, Seq::new(3));
    assert_eq!(removing.await.unwrap().value, MembershipChanged::At(Seq::new(4)));
    assert!(after.await.is_err());
}

async fn a_dropped_write_is_carried_out(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    drop(world.node.store.submit(new_message(room.id, world.ada.id, "nobody waits")));
    // Later writes are executed later.
    assert_eq!(world.post(room.id, "somebody waits").await.seq, Seq::new(3));
    assert_eq!(text_of(&all_events(&world.node, room.id).await[1]), Some("nobody waits"));
}

/// A sink that panics, like a hub with a bug.
struct Breaks;

impl CommitSink for Breaks {
    fn committed(&self, committed: Committed) {
        panic!("as planned, with {} events", committed.events.len());
    }
}

async fn a_broken_writer_is_reported(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let breaking = fixture.node_with(|options| options.sink = Arc::new(Breaks)).await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, breaking.store.ended()).await.is_err());
    let answer = breaking.store.submit(new_message(room.id, world.ada.id, "x")).await;
    assert!(answer.is_err(), "{answer:?}");
    breaking.store.ended().await;
    assert!(breaking.store.ping().await.is_err());
    // The write was committed nevertheless, and reads still work.
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
    world.post(room.id, "y").await;
}

async fn closing_executes_queued_writes(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let (pending, closing) = world
        .in_one_batch(async || {
            let pending: Vec<_> = (0..50).map(|_| store.submit(new_message(room.id, world.ada.id, "x"))).collect();
            let closing = tokio::spawn({
                let store = Arc::clone(store);
                async move { store.close().await }
            });
            (pending, closing)
        })
        .await;
    for pending in pending {
        pending.await.unwrap();
    }
    closing.await.unwrap();
    let late = store.submit(new_message(room.id, world.ada.id, "too late")).await;
    assert_eq!(late, Err(Unavailable::Stopping.into()));
    assert!(store.ping().await.is_err());
    store.close().await;
    let again = fixture.node().await;
    assert_eq!(all_events(&again, room.id).await.len(), 51);
}

async fn a_full_queue_refuses_at_once(fixture: Arc<Fixture>) {
    let node = fixture.node_with(|options| options.queue = QueueBounds { writes: 3, bytes: 40_000 }).await.unwrap();
    let world = World::on(node).await;
    let room = world.room().await;
    let store = &world.node.store;
    let say = |text: &str| store.submit(new_message(room.id, world.ada.id, text));
    let (held, refused) = world.in_one_batch(async || (["1", "2", "3"].map(say), say("4").await)).await;
    assert_eq!(refused, Err(Unavailable::QueueFull.into()));
    for held in held {
        held.await.unwrap();
    }
    // The queue is bounded in bytes as well, and the rejected writes took no number.
    let long = "x".repeat(32 * 1024);
    let (held, refused) = world.in_one_batch(async || (say(&long), say(&long).await)).await;
    assert_eq!(refused, Err(Unavailable::QueueFull.into()));
    assert_eq!(held.await.unwrap().value.seq, Seq::new(5));
}

async fn the_database_answers(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    world.node.store.ping().await.unwrap();
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "x");
    new.client_message_id = Some(client_id("x"));
    world.node.store.submit(new).await.unwrap();
}
