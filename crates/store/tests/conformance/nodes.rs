//! Several nodes on one database: two on one PostgreSQL, or a server and a command on one SQLite file.

use std::sync::Arc;

use chatsphere_core::store::{HistoryRange, MembershipChanged};
use chatsphere_core::{Access, Denial, Error, Seq};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, client_id, membership, new_message};

on_every_database!(
    two_nodes_append_to_the_same_rooms,
    each_sees_what_the_other_committed,
    a_retry_through_the_other_node_is_a_replay,
    a_removal_on_one_node_holds_on_the_other,
);

async fn two_nodes_append_to_the_same_rooms(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let mut rooms = Vec::new();
    for _ in 0..4 {
        rooms.push(one.room().await.id);
    }
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..40_usize {
        let store = if sender % 2 == 0 { Arc::clone(&one.node.store) } else { Arc::clone(&two.store) };
        let (rooms, ada, bob) = (rooms.clone(), one.ada.id, one.bob.id);
        senders.spawn(async move {
            for number in 0..25_usize {
                // Neighbouring senders go through the rooms in opposite directions.
                let room = rooms[if sender % 4 < 2 { (sender + number) % 4 } else { 3 - (sender + number) % 4 }];
                store.append(new_message(room, ada, "x")).await.unwrap();
                if number % 8 == 0 {
                    store.add_member(membership(room, bob, ada)).await.unwrap();
                    store.remove_member(membership(room, bob, ada)).await.unwrap();
                }
            }
        });
    }
    senders.join_all().await;
    let mut told = 0;
    let mut stored = 0;
    for room in &rooms {
        let events = all_events(&one.node, *room).await;
        stored += events.len();
        let row = two.store.room(*room, Access::Any).await.unwrap();
        let members = two.store.members(*room, Access::Any, crate::world::first(9)).await.unwrap().items.len();
        assert_eq!(row.member_count, members as u64);
        assert_eq!(row.seq.get(), events.len() as u64);
    }
    // Each event was told by exactly one of the nodes, and by each in order.
    for node in [&one.node, &two] {
        for room in &rooms {
            let seqs: Vec<_> =
                node.sink.events().iter().filter(|event| event.room_id == *room).map(|event| event.seq).collect();
            assert!(seqs.is_sorted_by(|a, b| a < b));
            told += seqs.len();
        }
    }
    assert_eq!(told, stored);
}

async fn each_sees_what_the_other_committed(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let room = one.room().await.id;
    for number in 0..20_u64 {
        let node = if number % 2 == 0 { &one.node } else { &two };
        let other = if number % 2 == 0 { &two } else { &one.node };
        let message = node.store.append(new_message(room, one.ada.id, "x")).await.unwrap().value;
        assert_eq!(message.seq, Seq::new(number + 2));
        let page = other.store.history(room, Access::Any, HistoryRange::Newest, 1).await.unwrap();
        assert_eq!(page.messages, [message]);
    }
}

async fn a_retry_through_the_other_node_is_a_replay(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let room = one.room().await.id;
    for round in 0..20 {
        let mut attempts = tokio::task::JoinSet::new();
        for attempt in 0..6 {
            let store = if attempt % 2 == 0 { Arc::clone(&one.node.store) } else { Arc::clone(&two.store) };
            let mut new = new_message(room, one.ada.id, "once");
            new.client_message_id = Some(client_id(&format!("c-{round}")));
            attempts.spawn(async move { store.append(new).await.unwrap() });
        }
        let answers = attempts.join_all().await;
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.value == answers[0].value));
    }
    assert_eq!(all_events(&one.node, room).await.len(), 21);
}

async fn a_removal_on_one_node_holds_on_the_other(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let room = one.room().await.id;
    for _ in 0..10 {
        one.add(room, one.bob.id).await;
        let sending = tokio::spawn({
            let (store, bob) = (Arc::clone(&two.store), one.bob.id);
            async move {
                let mut last = Seq::ZERO;
                loop {
                    match store.append(new_message(room, bob, "x")).await {
                        Ok(done) => last = done.value.seq,
                        Err(Error::Denied(Denial::NotAMember)) => return last,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let MembershipChanged::At(left) = one.remove(room, one.bob.id).await else { panic!("was a member") };
        assert!(sending.await.unwrap() < left);
    }
}
