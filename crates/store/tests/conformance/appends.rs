//! Tests of appending messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use chatsphere_core::store::{AckTo, HistoryRange, Receipt};
use chatsphere_core::{Access, Conflict, Error, EventKind, Forbidden, NotFound, RoomId, Seq, Timestamp, Unavailable, UserId};
use tokio::sync::mpsc;

use crate::fixture::{Fixture, ToldTo};
use crate::on_every_database;
use crate::world::{World, all_events, client_id, new_message};

on_every_database!(
    a_message_is_stored_as_it_was_given,
    every_character_and_the_longest_content_survive,
    many_senders_leave_no_gap,
    only_members_append,
    a_client_message_id_is_stored_once,
    equal_client_message_ids_in_one_batch_are_stored_once,
    a_client_message_id_belongs_to_its_author_and_room,
    a_former_member_is_not_told_of_earlier_messages,
    an_acknowledgement_comes_once_and_with_its_commit,
);

async fn an_acknowledgement_comes_once_and_with_its_commit(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await.id, &world.node.store);
    let (told, mut acks): (ToldTo, _) = mpsc::unbounded_channel();
    let to = || AckTo::new(told.clone());
    let mut new = new_message(room, world.ada.id, "hello");
    new.client_message_id = Some(client_id("mine"));
    store.submit_for(new.clone(), to());
    let first = acks.recv().await.unwrap().unwrap();
    assert_eq!(first, Receipt { room_id: room, message_id: new.id, seq: Seq::new(2), at: new.at, change: None });
    assert!(world.node.sink.events().iter().any(|event| event.seq == first.seq), "the sink is told of it before, or with it");
    // Rejections and replays are acknowledged too, in the order of the calls.
    store.submit_for(new, to());
    store.submit_for(new_message(room, world.bob.id, "no member"), to());
    store.submit_for(new_message(room, world.ada.id, "again"), to());
    assert_eq!(acks.recv().await.unwrap(), Ok(first));
    assert_eq!(acks.recv().await.unwrap(), Err(Forbidden::NotAMember.into()));
    assert_eq!(acks.recv().await.unwrap().map(|receipt| receipt.seq), Ok(first.seq.next()));
    store.close().await;
    store.submit_for(new_message(room, world.ada.id, "too late"), to());
    assert_eq!(acks.recv().await.unwrap(), Err(Unavailable::Stopping.into()));
    assert!(acks.try_recv().is_err());
}

async fn a_message_is_stored_as_it_was_given(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "hello");
    new.client_message_id = Some(client_id("mine"));
    let done = world.node.store.submit(new.clone()).await.unwrap();
    assert!(!done.replayed);
    let message = done.value;
    assert_eq!(message.id, new.id);
    assert_eq!((message.room_id, message.seq), (room.id, Seq::new(2)));
    assert_eq!((message.author.id, &message.author.username), (world.ada.id, &world.ada.username));
    assert_eq!((message.created_at, message.updated_at), (new.at, new.at));
    assert_eq!((&message.content, &message.client_message_id), (&new.content, &new.client_message_id));

    let page = world.node.store.history(room.id, Access::Member(world.ada.id), HistoryRange::Newest, 10).await.unwrap();
    assert_eq!(page.messages, std::slice::from_ref(&message));
    let told = world.node.sink.events();
    assert!(told.iter().any(|event| event.kind == EventKind::Message(message.clone()) && event.at == new.at));
    let room = world.node.store.room(room.id, Access::Any).await.unwrap();
    assert_eq!((room.message_count, room.seq), (1, Seq::new(2)));
    assert_eq!(room.updated_at, room.created_at);
}

async fn every_character_and_the_longest_content_survive(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    // One character of each plane that has some, the borders of UTF-8's lengths, and characters that need escaping.
    let mut texts = vec!["x".repeat(32 * 1024), "é".repeat(16 * 1024), "\u{1}\t\r\n'\"\\%_$1;--".to_owned()];
    texts.push("\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffe}\u{ffff}\u{10000}\u{10ffff}".to_owned());
    texts.extend((0..=0x10).filter_map(|plane| char::from_u32(plane * 0x1_0000 + 0x41)).map(|c| c.to_string()));
    texts.push("👩‍👩‍👧‍👦 e\u{301} \u{202e}abc \u{feff}".to_owned());
    for text in &texts {
        assert_eq!(world.post(room.id, text).await.content.as_str(), text);
    }
    let page = world.node.store.history(room.id, Access::Any, HistoryRange::Newest, 100).await.unwrap();
    let read: Vec<_> = page.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(read, texts);
}

async fn many_senders_leave_no_gap(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let mut rooms = Vec::new();
    for _ in 0..5 {
        rooms.push(world.room().await.id);
    }
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..50_usize {
        let (store, author, rooms) = (Arc::clone(&world.node.store), world.ada.id, rooms.clone());
        senders.spawn(async move {
            for number in 0..20 {
                let room = rooms[(sender + number) % rooms.len()];
                store.submit(new_message(room, author, &format!("{sender}/{number}"))).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    for room in rooms {
        let events = all_events(&world.node, room).await;
        assert_eq!(events.len(), 1 + 200);
        let ids: BTreeSet<_> = events
            .iter()
            .filter_map(|event| if let EventKind::Message(message) = &event.kind { Some(message.id) } else { None })
            .collect();
        assert_eq!(ids.len(), 200);
        assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 200);
    }
}

async fn only_members_append(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let (ada, bob) = (world.ada.id, world.bob.id);
    let nowhere = RoomId::new(Timestamp::from_millis(1));
    let nobody = UserId::new(Timestamp::from_millis(1));
    for (room, author, access, expected) in [
        (room.id, bob, Access::Member(bob), Error::from(Forbidden::NotAMember)),
        (nowhere, ada, Access::Member(ada), Forbidden::NotAMember.into()),
        (room.id, nobody, Access::Member(nobody), Forbidden::NotAMember.into()),
        (nowhere, ada, Access::Any, Error::NotFound(NotFound::Room)),
        (room.id, nobody, Access::Any, Error::NotFound(NotFound::User)),
    ] {
        let mut new = new_message(room, author, "no");
        new.access = access;
        assert_eq!(store.submit(new).await, Err(expected), "{author} {access:?}");
    }
    let mut privileged = new_message(room.id, bob, "on behalf of one who is not in");
    privileged.access = Access::Any;
    assert_eq!(store.submit(privileged).await.unwrap().value.seq, Seq::new(2));
    world.add(room.id, bob).await;
    store.submit(new_message(room.id, bob, "in")).await.unwrap();
    world.remove(room.id, bob).await;
    assert_eq!(store.submit(new_message(room.id, bob, "out")).await, Err(Forbidden::NotAMember.into()));
    assert_eq!(all_events(&world.node, room.id).await.len(), 5);
}

async fn a_client_message_id_is_stored_once(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let with_id = |text: &str| {
        let mut new = new_message(room.id, world.ada.id, text);
        new.client_message_id = Some(client_id("c-1"));
        new
    };
    let first = world.node.store.submit(with_id("hello")).await.unwrap();
    let again = world.node.store.submit(with_id("hello")).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.value, again.value);
    let other = world.node.store.submit(with_id("something else")).await;
    assert_eq!(other, Err(Conflict::ClientMessageIdReused.into()));
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
    assert_eq!(world.node.sink.events().len(), 2);
}

async fn equal_client_message_ids_in_one_batch_are_stored_once(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let pending = world
        .in_one_batch(async || {
            ["same", "same", "other"].map(|text| {
                let mut new = new_message(room.id, world.ada.id, text);
                new.client_message_id = Some(client_id("c-1"));
                world.node.store.submit(new)
            })
        })
        .await;
    let [first, second, third] = pending;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.value, second.value);
    assert_eq!(third.await, Err(Conflict::ClientMessageIdReused.into()));
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
}

async fn a_client_message_id_belongs_to_its_author_and_room(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (one, other) = (world.room().await.id, world.room().await.id);
    world.add(one, world.bob.id).await;
    for (room, author) in [(one, world.ada.id), (other, world.ada.id), (one, world.bob.id)] {
        let mut new = new_message(room, author, "each");
        new.client_message_id = Some(client_id("same"));
        assert!(!world.node.store.submit(new).await.unwrap().replayed);
    }
}

async fn a_former_member_is_not_told_of_earlier_messages(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    world.add(room.id, world.bob.id).await;
    let mut new = new_message(room.id, world.bob.id, "hello");
    new.client_message_id = Some(client_id("c-1"));
    new.idempotency = Some(crate::world::idempotency(1, 1));
    world.node.store.submit(new.clone()).await.unwrap();
    world.remove(room.id, world.bob.id).await;
    assert_eq!(world.node.store.submit(new).await, Err(Forbidden::NotAMember.into()));
}
