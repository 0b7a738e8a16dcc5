//! Tests of messages that were deleted for good: nothing but their numbers is left.

use std::sync::Arc;

use chatsphere_core::store::{Changed, HistoryRange, MessageDeletion, MessageFilter, NewMessage, Place, VersionsForgotten};
use chatsphere_core::{
    Access, Actor, Error, EventKind, EventMessage, Message, MessageChangeKind, NotFound, RoomId, Seq, UserId,
};

use crate::edits::edit;
use crate::fixture::Fixture;
use crate::on_every_database;
use crate::pins::pin;
use crate::world::{World, all_events, client_id, first, idempotency, new_message, now};

on_every_database!(
    a_removal_leaves_only_a_number,
    a_removal_is_harmless_to_repeat,
    a_removed_message_is_not_found,
    pages_are_exact_whatever_is_removed,
    no_table_has_a_word_of_a_deleted_message,
    a_retry_with_the_same_key_is_answered,
    an_outbox_that_resends_stores_nothing,
    a_message_is_resent_beside_its_removal,
);

/// Appear in no other text of a test.
const WORD: &str = "xylophone-4711";
const CLIENT_ID: &str = "glockenspiel-4711";

impl World {
    async fn remove_message(&self, message: &Message, by: UserId) -> Changed {
        let (room_id, message_id) = (message.room_id, message.id);
        let deletion = MessageDeletion { room_id, message_id, hard: true, by, actor: Actor::Operator, at: now() };
        self.node.store.submit(deletion).await.unwrap()
    }

    /// Posts a message of Ada's that is edited and pinned.
    async fn marked(&self, room: RoomId) -> Message {
        let new = NewMessage { client_message_id: Some(client_id(CLIENT_ID)), ..new_message(room, self.ada.id, WORD) };
        let posted = self.node.store.submit(new).await.unwrap().value;
        self.edit(&posted, &format!("edited {WORD}")).await;
        self.node.store.submit(pin(room, posted.id, self.ada.id, true)).await.unwrap();
        posted
    }
}

async fn a_removal_leaves_only_a_number(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.marked(room).await;
    let kept = world.post(room, "kept").await;
    let removed = world.remove_message(&posted, world.bob.id).await;
    let message = &removed.message;
    assert_eq!((message.id, message.seq, message.change_seq()), (posted.id, posted.seq, removed.seq));
    assert_eq!((message.content.as_str(), &message.client_message_id), ("", &None));
    let details = message.details.as_deref().unwrap();
    assert!(details.removed && details.edited_at.is_none() && details.pinned_at.is_none());
    assert_eq!(details.deleted_at, Some(removed.at));
    let told = world.node.sink.events().into_iter().rfind(|event| event.room_id == room).unwrap();
    let events = all_events(&world.node, room).await;
    assert_eq!(events.last(), Some(&*told));
    let EventKind::MessageChanged { how: MessageChangeKind::Deleted, message: EventMessage::Shown(shown), by } = &told.kind
    else {
        panic!("{told:?}")
    };
    assert_eq!((&**shown, by.id), (message, world.bob.id));
    let at = |seq: Seq| &events[seq.get() as usize - 1].kind;
    assert_eq!(at(posted.seq), &EventKind::MessageRemoved { message_id: posted.id });
    for seq in [posted.seq.next(), posted.seq.next().next()] {
        let EventKind::MessageChanged { message, .. } = at(seq) else { panic!("{seq}") };
        assert_eq!(*message, EventMessage::Superseded(posted.key()));
    }
    // Each event by itself.
    for event in &events {
        let page = world.node.store.events_after(room, Access::Any, event.seq.previous(), 1).await.unwrap();
        assert_eq!(*page.events[0], *event);
    }
    let newest = world.node.store.newest(room, Access::Any, 10, 10).await.unwrap().page;
    assert_eq!((newest.messages, newest.from), (vec![kept.clone()], Seq::new(1)));
    assert_eq!(newest.others.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    for filter in [
        MessageFilter::default(),
        MessageFilter { author: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { seen_by: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { rooms: Some(vec![room]), ..MessageFilter::default() },
    ] {
        let page = world.node.store.messages(filter.clone(), first(1)).await.unwrap();
        let shown: Vec<_> = page.items.into_iter().map(|item| item.message).collect();
        assert_eq!((shown, page.next), (vec![kept.clone()], None), "{filter:?}");
    }
    assert_eq!(world.node.store.pins(room, Access::Any, first(10)).await.unwrap().page.items, []);
    // The message counts as posted.
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 2);
}

async fn a_removal_is_harmless_to_repeat(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.marked(room).await;
    let deleted = world.delete(&posted, world.ada.id).await;
    let removed = world.remove_message(&posted, world.bob.id).await;
    assert_eq!(removed.seq, deleted.seq.next());
    let newest = world.post(room, "next").await;
    let again = world.remove_message(&posted, world.ada.id).await;
    assert_eq!((again.message, again.seq, again.at), (removed.message, newest.seq, newest.created_at));
    let events = all_events(&world.node, room).await;
    assert_eq!(events.last().unwrap().seq, newest.seq);
    // The first deletion shows what is left now.
    let page = world.node.store.events_after(room, Access::Any, deleted.seq.previous(), 1).await.unwrap();
    let EventKind::MessageChanged { message: EventMessage::Shown(shown), .. } = &page.events[0].kind else {
        panic!("{page:?}")
    };
    assert!(shown.is_removed());
}

async fn a_removed_message_is_not_found(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.marked(room).await;
    world.remove_message(&posted, world.ada.id).await;
    let (store, id, by) = (&world.node.store, posted.id, world.ada.id);
    let absent = Some(Error::NotFound(NotFound::Message));
    assert_eq!(store.message(room, Access::Any, id).await.err(), absent);
    assert_eq!(store.message_versions(room, Access::Any, id, first(9)).await.err(), absent);
    assert_eq!(store.history(room, Access::Any, HistoryRange::Around(Place::Of(id)), 9).await.err(), absent);
    let (actor, at) = (Actor::Operator, now());
    assert_eq!(store.submit(edit(room, id, by, "x")).await.err(), absent);
    assert_eq!(store.submit(pin(room, id, by, true)).await.err(), absent);
    assert_eq!(store.submit(VersionsForgotten { room_id: room, message_id: id, actor, at }).await.err(), absent);
    let soft = MessageDeletion { room_id: room, message_id: id, hard: false, by, actor, at };
    assert_eq!(store.submit(soft).await.err(), absent);
    // Neither is it found from another room.
    let other = MessageDeletion { room_id: world.room().await.id, message_id: id, hard: true, by, actor, at };
    assert_eq!(store.submit(other).await.err(), absent);
}

async fn pages_are_exact_whatever_is_removed(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for number in 0..12 {
        posted.push(world.post(room, &format!("number {number}")).await);
    }
    for place in [1, 5, 8] {
        posted[place] = world.delete(&posted[place], world.ada.id).await.message;
    }
    for place in [11, 8, 6, 5, 0] {
        world.remove_message(&posted[place], world.ada.id).await;
        posted.remove(place);
    }
    for limit in 1..=8 {
        let (mut seen, mut range) = (Vec::new(), HistoryRange::Newest);
        loop {
            let (messages, has_older, has_newer) = world.messages_of(room, range, limit).await;
            assert_eq!(has_newer, !seen.is_empty());
            range = HistoryRange::Before(messages[0].seq);
            seen.splice(0..0, messages);
            if !has_older {
                break;
            }
        }
        assert_eq!(seen, posted, "{limit}");
        let (mut seen, mut range) = (Vec::new(), HistoryRange::After(Seq::ZERO));
        loop {
            let (messages, has_older, has_newer) = world.messages_of(room, range, limit).await;
            assert_eq!(has_older, !seen.is_empty());
            range = HistoryRange::After(messages.last().unwrap().seq);
            seen.extend(messages);
            if !has_newer {
                break;
            }
        }
        assert_eq!(seen, posted, "{limit}");
    }
    let mut seen = Vec::new();
    for _ in 0.. {
        let after = Seq::new(seen.len() as u64);
        let page = world.node.store.events_after(room, Access::Any, after, 2).await.unwrap();
        if page.events.is_empty() {
            break;
        }
        seen.extend(page.events.iter().map(|event| event.seq.get()));
    }
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
}

async fn no_table_has_a_word_of_a_deleted_message(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.marked(world.room().await.id).await;
    fixture.expect_in_tables(WORD, true).await;
    fixture.expect_in_tables(CLIENT_ID, true).await;
    world.delete(&posted, world.ada.id).await;
    fixture.expect_in_tables(WORD, false).await;
    let posted = world.marked(world.room().await.id).await;
    fixture.expect_in_tables(WORD, true).await;
    world.remove_message(&posted, world.ada.id).await;
    fixture.expect_in_tables(WORD, false).await;
    // A tombstone keeps the client's own id, unlike what is deleted for good.
    fixture.expect("SELECT count(*) FROM messages WHERE client_message_id IS NOT NULL", 1).await;
}

async fn a_retry_with_the_same_key_is_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let send = NewMessage { idempotency: Some(idempotency(1, 1)), ..new_message(room, world.ada.id, WORD) };
    let posted = world.node.store.submit(send.clone()).await.unwrap().value;
    let removed = world.remove_message(&posted, world.ada.id).await.message;
    let again = world.node.store.submit(send).await.unwrap();
    assert_eq!((again.value, again.replayed), (removed, true));
}

async fn an_outbox_that_resends_stores_nothing(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.marked(room).await;
    let other = fixture.node().await;
    // This node knows the room from before.
    other.store.submit(new_message(room, world.ada.id, "kept")).await.unwrap();
    let removed = world.remove_message(&posted, world.ada.id).await;
    let send = |room, author, text: &str| NewMessage {
        client_message_id: Some(client_id(CLIENT_ID)),
        access: Access::Any,
        ..new_message(room, author, text)
    };
    for node in [&world.node, &other] {
        // What it said is not known any more.
        for text in [WORD, "other"] {
            let again = node.store.submit(send(room, world.ada.id, text)).await.unwrap();
            assert_eq!((again.value, again.replayed), (removed.message.clone(), true));
        }
    }
    let mut keyed = send(room, world.ada.id, WORD);
    keyed.idempotency = Some(idempotency(1, 1));
    for _ in 0..2 {
        let again = other.store.submit(keyed.clone()).await.unwrap();
        assert_eq!((again.value.id, again.replayed), (posted.id, true));
    }
    assert_eq!(all_events(&world.node, room).await.last().unwrap().seq, removed.seq);
    // The id is that of one author in one room.
    let elsewhere = world.room().await.id;
    for (room, author) in [(elsewhere, world.ada.id), (room, world.bob.id)] {
        assert!(!world.node.store.submit(send(room, author, "new")).await.unwrap().replayed);
    }
    fixture.expect("SELECT count(*) FROM removed_client_ids", 1).await;
}

async fn a_message_is_resent_beside_its_removal(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.marked(room).await;
    let deletion = |hard| MessageDeletion {
        room_id: room,
        message_id: posted.id,
        hard,
        by: world.ada.id,
        actor: Actor::Operator,
        at: now(),
    };
    let send = || {
        let new = NewMessage { client_message_id: Some(client_id(CLIENT_ID)), ..new_message(room, world.ada.id, "other") };
        world.node.store.submit(new)
    };
    let store = &world.node.store;
    let (deleted, first, removed, second) =
        world.in_one_batch(async || (store.submit(deletion(false)), send(), store.submit(deletion(true)), send())).await;
    let (deleted, removed) = (deleted.await.unwrap().message, removed.await.unwrap().message);
    assert_eq!(first.await.unwrap().value, deleted);
    let second = second.await.unwrap();
    assert_eq!((second.value, second.replayed), (removed, true));
}
