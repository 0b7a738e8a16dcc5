//! Tests of several nodes on one database: two on one PostgreSQL, or a server and a command on one SQLite file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chatsphere_core::store::{HistoryRange, MemberRemoval, MembershipChanged, NewMember, UserChange};
use chatsphere_core::{Access, Actor, Error, Forbidden, PageCache, Seq};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, client_id, membership, name, new_message, now, unique};

on_every_database!(
    two_nodes_append_to_the_same_rooms,
    each_sees_what_the_other_committed,
    a_retry_through_the_other_node_is_a_replay,
    a_removal_on_one_node_holds_on_the_other,
    a_writers_cache_has_what_others_wrote,
    a_cached_page_shows_what_another_node_acknowledged,
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
                // Neighbouring senders use the rooms in opposite orders.
                let room = rooms[if sender % 4 < 2 { (sender + number) % 4 } else { 3 - (sender + number) % 4 }];
                store.submit(new_message(room, ada, "x")).await.unwrap();
                if number % 8 == 0 {
                    store.submit(NewMember(membership(room, bob, ada))).await.unwrap();
                    store.submit(MemberRemoval(membership(room, bob, ada))).await.unwrap();
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
        let members = two.store.members(*room, Access::Any, crate::world::first(9)).await.unwrap().page.items.len();
        assert_eq!(row.member_count, members as u64);
        assert_eq!(row.seq.get(), events.len() as u64);
    }
    // Exactly one node's sink got each event, and each sink got its events in order.
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
        let message = node.store.submit(new_message(room, one.ada.id, "x")).await.unwrap().value;
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
            attempts.spawn(async move { store.submit(new).await.unwrap() });
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
                    match store.submit(new_message(room, bob, "x")).await {
                        Ok(done) => last = done.value.seq,
                        Err(Error::Forbidden(Forbidden::NotAMember)) => return last,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let MembershipChanged::At(left) = one.remove(room, one.bob.id).await else { panic!("was a member") };
        assert!(sending.await.unwrap() < left);
    }
}

/// Both nodes make each change in turn: after a change by the other, a node must not use its cache from before.
async fn a_writers_cache_has_what_others_wrote(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let (room, bob) = (one.room().await.id, one.bob.id);
    one.add(room, bob).await;
    let (here, there) = (&one.node.store, &two.store);
    let mut seq = here.submit(new_message(room, bob, "known here")).await.unwrap().value.seq;
    for (changes, posts) in [(there, here), (here, here), (here, there), (there, there)] {
        let renamed = name(&unique("robert"));
        let username = Some(renamed.clone());
        let change = UserChange { user_id: bob, username, role: None, disabled: None, actor: Actor::Operator, at: now() };
        changes.submit(change).await.unwrap();
        let posted = posts.submit(new_message(room, bob, "by another name")).await.unwrap().value;
        assert_eq!((posted.seq, &posted.author.username), (seq.next(), &renamed));
        let other = changes.submit(new_message(room, bob, "another event")).await.unwrap().value;
        assert_eq!(other.seq, posted.seq.next());
        changes.submit(MemberRemoval(membership(room, bob, bob))).await.unwrap();
        let refused = posts.submit(new_message(room, bob, "no member")).await;
        assert_eq!(refused.map(|done| done.value.seq), Err(Forbidden::NotAMember.into()));
        changes.submit(NewMember(membership(room, bob, one.ada.id))).await.unwrap();
        let back = posts.submit(new_message(room, bob, "back")).await.unwrap().value;
        assert_eq!(back.seq.get(), other.seq.get() + 3, "after a removal and a return");
        seq = back.seq;
    }
}

/// Many readers use one cache at a time, so that their checks share queries. Each must see everything that was acknowledged
/// before its call.
async fn a_cached_page_shows_what_another_node_acknowledged(fixture: Arc<Fixture>) {
    const READERS: usize = 8;
    const MESSAGES: u64 = 100;
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let (room, ada) = (one.room().await.id, Access::Member(one.ada.id));
    let first = one.post(room, "x").await.seq.get();
    let (pages, acknowledged) = (Arc::new(PageCache::default()), Arc::new(AtomicU64::new(first)));
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let (store, pages, acknowledged) = (Arc::clone(&two.store), Arc::clone(&pages), Arc::clone(&acknowledged));
        readers.spawn(async move {
            loop {
                let before = acknowledged.load(Ordering::SeqCst);
                let shown = match reader % 2 {
                    0 => pages.history(&*store, room, ada, 1, async { Ok(()) }).await.unwrap().0.messages[0].seq,
                    _ => pages.newest(&*store, room, ada, (1, 1), async { Ok(()) }).await.unwrap().0.messages[0].seq,
                };
                assert!(shown.get() >= before, "{shown} was shown after {before} was acknowledged");
                if before == first + MESSAGES {
                    return;
                }
            }
        });
    }
    for _ in 0..MESSAGES {
        acknowledged.store(one.post(room, "x").await.seq.get(), Ordering::SeqCst);
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}
