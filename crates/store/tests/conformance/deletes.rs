//! Tests of deleted messages: tombstones, events, pages, and that the deleted content is nowhere.

use std::sync::Arc;

use chatsphere_core::store::{Changed, HistoryRange, MessageDeletion, MessageFilter, NewMessage};
use chatsphere_core::{Access, Actor, Conflict, EventKind, EventMessage, Message, MessageChangeKind, RoomId, Seq, UserId};

use crate::edits::edit;
use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, client_id, first, new_message, now};

on_every_database!(
    a_deletion_leaves_a_tombstone_and_is_an_event,
    a_tombstone_is_not_changed_again,
    deleted_content_is_nowhere,
    a_retry_is_answered_with_the_tombstone,
    pages_are_in_order_whatever_is_deleted,
    a_cached_page_shows_a_deletion,
);

/// Appears in no other text of a test.
const WORD: &str = "xylophone-4711";

impl World {
    pub(crate) async fn delete(&self, message: &Message, by: UserId) -> Changed {
        let (room_id, message_id) = (message.room_id, message.id);
        let deletion = MessageDeletion { room_id, message_id, hard: false, by, actor: Actor::Operator, at: now() };
        self.node.store.submit(deletion).await.unwrap()
    }

    pub(crate) async fn messages_of(&self, room: RoomId, range: HistoryRange, limit: usize) -> (Vec<Message>, bool, bool) {
        let page = self.node.store.history(room, Access::Any, range, limit).await.unwrap().page;
        (page.messages, page.has_older, page.has_newer)
    }
}

async fn a_deletion_leaves_a_tombstone_and_is_an_event(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, WORD).await;
    world.edit(&posted, "edited").await;
    let deleted = world.delete(&posted, world.bob.id).await;
    let message = &deleted.message;
    assert_eq!((message.id, message.seq, &message.author), (posted.id, posted.seq, &posted.author));
    assert_eq!((message.content.as_str(), message.version().get(), message.change_seq()), ("", 3, deleted.seq));
    let details = message.details.as_ref().unwrap();
    assert_eq!((details.deleted_at, details.deleted_by), (Some(deleted.at), Some(world.bob.id)));
    assert!(details.edited_at.is_some());
    let events = all_events(&world.node, room).await;
    let event = events.last().unwrap();
    assert_eq!(event.seq, deleted.seq);
    let EventKind::MessageChanged { how: MessageChangeKind::Deleted, message: EventMessage::Shown(shown), by } = &event.kind
    else {
        panic!("{event:?}")
    };
    assert_eq!((&**shown, by.id), (message, world.bob.id));
    // Its place in the page shows the tombstone too.
    assert!(events.iter().any(|event| event.message() == Some(message)));
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 1);
}

async fn a_tombstone_is_not_changed_again(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "hello").await;
    let deleted = world.delete(&posted, world.ada.id).await;
    let newest = world.post(posted.room_id, "next").await;
    let again = world.delete(&posted, world.bob.id).await;
    assert_eq!((again.message, again.seq, again.at), (deleted.message, newest.seq, newest.created_at));
    for text in ["hello", "other"] {
        let refused = world.node.store.submit(edit(posted.room_id, posted.id, world.ada.id, text)).await.err();
        assert_eq!(refused, Some(Conflict::MessageDeleted.into()));
    }
    assert_eq!(all_events(&world.node, posted.room_id).await.last().unwrap().seq, newest.seq);
    // A deletion may be the newest event.
    let deleted = world.delete(&newest, world.ada.id).await;
    let again = world.delete(&newest, world.ada.id).await;
    assert_eq!((again.seq, again.at), (deleted.seq, deleted.at));
}

async fn deleted_content_is_nowhere(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, &format!("first {WORD}")).await;
    for text in ["second", "third"] {
        world.edit(&posted, &format!("{text} {WORD}")).await;
    }
    let kept = world.post(room, "kept").await;
    world.delete(&posted, world.ada.id).await;
    let store = &world.node.store;
    let mut texts: Vec<String> = Vec::new();
    let mut see = |messages: Vec<Message>| texts.extend(messages.iter().map(|message| message.content.as_str().to_owned()));
    for range in [HistoryRange::Newest, HistoryRange::Before(kept.seq), HistoryRange::After(Seq::ZERO)] {
        see(world.messages_of(room, range, 10).await.0);
    }
    see(store.newest(room, Access::Any, 10, 10).await.unwrap().page.messages);
    for filter in [
        MessageFilter::default(),
        MessageFilter { author: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { seen_by: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { rooms: Some(vec![room]), ..MessageFilter::default() },
    ] {
        see(store.messages(filter, first(100)).await.unwrap().items.into_iter().map(|item| item.message).collect());
    }
    for event in all_events(&world.node, room).await {
        see(event.message().cloned().into_iter().collect());
        if let EventKind::MessageChanged { message: EventMessage::Shown(message), .. } = &event.kind {
            see(vec![(**message).clone()]);
        }
    }
    assert!(texts.iter().all(|text| !text.contains(WORD)), "{texts:?}");
    assert!(texts.iter().any(String::is_empty) && texts.iter().any(|text| text == "kept"), "{texts:?}");
    assert_eq!(world.texts(&posted, 10).await, [(3, None), (2, None), (1, None)]);
    for table in ["messages", "texts"] {
        fixture.expect(&format!("SELECT count(*) FROM {table} WHERE content LIKE '%{WORD}%'"), 0).await;
    }
    // The files have it no longer once the log is moved into the database, which the shutdown does.
    store.close().await;
    if let Some(path) = fixture.url.sqlite_path() {
        let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
        for file in files {
            // The log's file may be removed meanwhile.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            assert!(!bytes.windows(WORD.len()).any(|bytes| bytes == WORD.as_bytes()), "{}", file.display());
        }
    }
}

async fn a_retry_is_answered_with_the_tombstone(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let store = &world.node.store;
    let send = |text: &str| NewMessage { client_message_id: Some(client_id("one")), ..new_message(room, world.ada.id, text) };
    let posted = store.submit(send("first")).await.unwrap().value;
    let deleted = world.delete(&posted, world.ada.id).await.message;
    for text in ["first", "second"] {
        let again = store.submit(send(text)).await.unwrap();
        assert_eq!((again.value, again.replayed), (deleted.clone(), true), "{text}");
    }
}

async fn pages_are_in_order_whatever_is_deleted(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for number in 0..14 {
        posted.push(world.post(room, &format!("number {number}")).await);
    }
    for place in [0, 3, 4, 5, 9, 13] {
        posted[place] = world.delete(&posted[place], world.ada.id).await.message;
    }
    for limit in 1..=15 {
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
    let page = world.node.store.events_after(room, Access::Any, Seq::ZERO, 100).await.unwrap();
    let shown: Vec<&Message> = page.events.iter().filter_map(|event| event.message()).collect();
    assert_eq!(shown, posted.iter().collect::<Vec<_>>());
}

async fn a_cached_page_shows_a_deletion(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "hello").await;
    let other = fixture.node().await;
    for node in [&world.node, &other] {
        node.store.newest(posted.room_id, Access::Any, 10, 10).await.unwrap();
    }
    let deleted = world.delete(&posted, world.ada.id).await.message;
    for node in [&world.node, &other] {
        let page = node.store.newest(posted.room_id, Access::Any, 10, 10).await.unwrap().page;
        assert_eq!(page.messages, std::slice::from_ref(&deleted));
    }
}
