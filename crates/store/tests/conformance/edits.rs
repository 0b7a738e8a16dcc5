//! Tests of edits: versions, events, retries, pages.

use std::sync::Arc;

use chatsphere_core::store::{Changed, HistoryRange, MessageEdit, MessageFilter, PAGE_BYTES, VersionsForgotten};
use chatsphere_core::{
    Access, Actor, Conflict, Content, Error, EventKind, EventMessage, Message, MessageId, NotFound, RoomId, Seq, UserId,
    Version,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, client_id, first, new_message, now};

on_every_database!(
    an_edit_is_a_version_and_an_event,
    an_edit_that_changes_nothing_adds_nothing,
    an_edit_for_an_earlier_version_is_refused,
    an_edit_names_a_message_of_the_room,
    every_read_shows_the_current_content,
    versions_come_newest_first_page_by_page,
    the_oldest_version_is_dropped_when_there_are_too_many,
    erased_contents_are_nowhere,
    a_retry_is_answered_with_the_current_message,
    a_page_shows_a_message_once_however_often_it_was_edited,
    a_page_of_edits_is_bounded_by_bytes,
    edits_and_messages_of_one_batch_are_in_order,
    a_cached_page_shows_an_edit,
    edits_on_two_nodes_have_consecutive_versions,
);

pub(crate) fn edit(room: RoomId, message: MessageId, by: UserId, text: &str) -> MessageEdit {
    let content = Content::from_stored(text.to_owned());
    MessageEdit {
        room_id: room,
        message_id: message,
        content,
        if_version: None,
        max_versions: 50,
        by,
        actor: Actor::Operator,
        at: now(),
    }
}

impl World {
    pub(crate) async fn edit(&self, message: &Message, text: &str) -> Changed {
        self.node.store.submit(edit(message.room_id, message.id, self.ada.id, text)).await.unwrap()
    }

    pub(crate) async fn texts(&self, message: &Message, limit: usize) -> Vec<(u32, Option<String>)> {
        let (room, id) = (message.room_id, message.id);
        let versions =
            all_pages(
                limit,
                |page| async move { Ok(self.node.store.message_versions(room, Access::Any, id, page).await?.page) },
            );
        let text = |content: Content| content.as_str().to_owned();
        versions.await.into_iter().map(|version| (version.version.get(), version.content.map(text))).collect()
    }
}

async fn an_edit_is_a_version_and_an_event(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    world.add(room, world.bob.id).await;
    let posted = world.post(room, "hello").await;
    assert_eq!((posted.version(), posted.change_seq()), (Version::FIRST, posted.seq));
    let first = world.edit(&posted, "hello, world").await;
    assert_eq!(first.seq, posted.seq.next());
    let message = &first.message;
    assert_eq!((message.content.as_str(), message.version().get()), ("hello, world", 2));
    assert_eq!((message.seq, message.change_seq(), message.created_at), (posted.seq, first.seq, posted.created_at));
    assert!(message.updated_at > posted.updated_at);
    assert_eq!(message.details.as_ref().unwrap().edited_by, None);
    // A CLIENT token edits it.
    let second = world.node.store.submit(edit(room, posted.id, world.bob.id, "moderated")).await.unwrap();
    let details = second.message.details.clone().unwrap();
    assert_eq!((details.version.get(), details.edited_by, details.content_seq), (3, Some(world.bob.id), second.seq));
    let events = all_events(&world.node, room).await;
    let [.., one, two] = &events[..] else { panic!("{events:?}") };
    assert_eq!((one.seq, two.seq), (first.seq, second.seq));
    // A page shows the current state of a message: the last event has it, and supersedes the one before.
    let EventKind::MessageChanged { message: EventMessage::Superseded(key), by, .. } = &one.kind else { panic!("{one:?}") };
    assert_eq!((key.id, by.id), (posted.id, world.ada.id));
    let EventKind::MessageChanged { message: EventMessage::Shown(shown), by, .. } = &two.kind else { panic!("{two:?}") };
    assert_eq!((&**shown, by.id), (&second.message, world.bob.id));
    assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().message_count, 1);
}

async fn an_edit_that_changes_nothing_adds_nothing(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "hello").await;
    let edited = world.edit(&posted, "hello, world").await;
    let newest = world.post(posted.room_id, "next").await;
    for if_version in [None, Some(Version::FIRST)] {
        let again = MessageEdit { if_version, ..edit(posted.room_id, posted.id, world.ada.id, "hello, world") };
        let again = world.node.store.submit(again).await.unwrap();
        assert_eq!((&again.message, again.seq, again.at), (&edited.message, newest.seq, newest.created_at));
    }
    assert_eq!(all_events(&world.node, posted.room_id).await.last().unwrap().seq, newest.seq);
    // The newest event of the room is not a message.
    world.add(posted.room_id, world.bob.id).await;
    let again = world.edit(&posted, "hello, world").await;
    assert_eq!((again.seq, again.message.version().get()), (newest.seq.next(), 2));
}

async fn an_edit_for_an_earlier_version_is_refused(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "hello").await;
    let wanted = |text: &str, version| MessageEdit {
        if_version: Some(Version::new(version)),
        ..edit(posted.room_id, posted.id, world.ada.id, text)
    };
    let store = &world.node.store;
    assert_eq!(store.submit(wanted("two", 1)).await.unwrap().message.version().get(), 2);
    assert_eq!(store.submit(wanted("three", 1)).await.err(), Some(Conflict::VersionConflict.into()));
    assert_eq!(store.submit(wanted("three", 2)).await.unwrap().message.version().get(), 3);
    assert_eq!(world.texts(&posted, 10).await.len(), 3);
}

async fn an_edit_names_a_message_of_the_room(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, other) = (world.room().await.id, world.room().await.id);
    let posted = world.post(room, "hello").await;
    let store = &world.node.store;
    for (room, id, expected) in [
        (other, posted.id, NotFound::Message),
        (room, MessageId::new(now()), NotFound::Message),
        (RoomId::new(now()), posted.id, NotFound::Room),
    ] {
        let expected = Some(Error::NotFound(expected));
        assert_eq!(store.submit(edit(room, id, world.ada.id, "x")).await.err(), expected);
        let forgotten = VersionsForgotten { room_id: room, message_id: id, actor: Actor::Operator, at: now() };
        assert_eq!(store.submit(forgotten).await.err(), expected);
        assert_eq!(store.message_versions(room, Access::Any, id, first(5)).await.err(), expected);
    }
}

async fn every_read_shows_the_current_content(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let (store, ada) = (&world.node.store, Access::Member(world.ada.id));
    let before = world.post(room, "before").await;
    let posted = world.post(room, "first").await;
    world.post(room, "after").await;
    let edited = world.edit(&posted, "second").await.message;
    let shown = |messages: &[Message]| messages.contains(&edited);
    for range in [HistoryRange::Newest, HistoryRange::Before(Seq::new(9)), HistoryRange::After(before.seq)] {
        assert!(shown(&store.history(room, ada, range, 10).await.unwrap().messages), "{range:?}");
    }
    assert!(shown(&store.newest(room, ada, 10, 10).await.unwrap().messages));
    for filter in [
        MessageFilter::default(),
        MessageFilter { author: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { seen_by: Some(world.ada.id), ..MessageFilter::default() },
        MessageFilter { rooms: Some(vec![room]), ..MessageFilter::default() },
    ] {
        let page = store.messages(filter.clone(), first(100)).await.unwrap();
        let found: Vec<Message> = page.items.into_iter().map(|item| item.message).collect();
        assert!(shown(&found), "{filter:?}");
    }
    let events = all_events(&world.node, room).await;
    assert!(events.iter().any(|event| event.message() == Some(&edited)));
}

async fn versions_come_newest_first_page_by_page(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "1").await;
    assert_eq!(world.texts(&posted, 1).await, [(1, Some("1".to_owned()))]);
    for number in 2..=5 {
        world.edit(&posted, &number.to_string()).await;
    }
    let all: Vec<_> = (1..=5).rev().map(|number: u32| (number, Some(number.to_string()))).collect();
    for limit in 1..=6 {
        assert_eq!(world.texts(&posted, limit).await, all, "{limit}");
    }
    let versions = world.node.store.message_versions(posted.room_id, Access::Any, posted.id, first(9)).await.unwrap();
    assert_eq!((versions.author, versions.head), (world.ada.id, Seq::new(posted.seq.get() + 4)));
    assert!(versions.page.items.iter().all(|version| version.by.id == world.ada.id));
}

async fn the_oldest_version_is_dropped_when_there_are_too_many(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "text 1.").await;
    let change = async |number: u32, max_versions| {
        let next = MessageEdit { max_versions, ..edit(room, posted.id, world.ada.id, &format!("text {number}.")) };
        let changed = world.node.store.submit(next).await.unwrap();
        assert_eq!(changed.message.version().get(), number);
    };
    let shown = |numbers: std::ops::RangeInclusive<u32>| -> Vec<_> {
        numbers.rev().map(|number| (number, Some(format!("text {number}.")))).collect()
    };
    for number in 2..=8 {
        change(number, 4).await;
        let expected = shown(number.saturating_sub(3).max(1)..=number);
        for limit in 1..=5 {
            assert_eq!(world.texts(&posted, limit).await, expected, "{number} {limit}");
        }
        for (count, dropped) in [(1, number), (u32::from(number <= 4), 1), (0, number.saturating_sub(4))] {
            let texts = "SELECT content FROM messages UNION ALL SELECT content FROM texts";
            let sql = format!("SELECT count(*) FROM ({texts}) AS t WHERE content = 'text {dropped}.'");
            fixture.expect(&sql, i64::from(count)).await;
        }
    }
    // A lower limit drops several, a higher one brings nothing back.
    change(9, 2).await;
    assert_eq!(world.texts(&posted, 10).await, shown(8..=9));
    change(10, 1).await;
    assert_eq!(world.texts(&posted, 10).await, shown(10..=10));
    change(11, 4).await;
    assert_eq!(world.texts(&posted, 1).await, shown(10..=11));
    // Versions whose contents were erased are dropped as well.
    let forget = VersionsForgotten { room_id: room, message_id: posted.id, actor: Actor::Operator, at: now() };
    world.node.store.submit(forget).await.unwrap();
    assert_eq!(world.texts(&posted, 10).await, [(11, Some("text 11.".to_owned())), (10, None)]);
    change(12, 2).await;
    assert_eq!(world.texts(&posted, 10).await, shown(11..=12));
    fixture.expect("SELECT count(*) FROM texts WHERE content <> ''", 2).await;
}

async fn erased_contents_are_nowhere(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "a secret").await;
    let forget = || VersionsForgotten { room_id: posted.room_id, message_id: posted.id, actor: Actor::Operator, at: now() };
    // The first version is the current one, so there is nothing to erase.
    world.node.store.submit(forget()).await.unwrap();
    assert_eq!(world.texts(&posted, 10).await, [(1, Some("a secret".to_owned()))]);
    world.edit(&posted, "another secret").await;
    let edited = world.edit(&posted, "public").await;
    for _ in 0..2 {
        let forgotten = world.node.store.submit(forget()).await.unwrap();
        assert_eq!((forgotten.message, forgotten.seq), (edited.message.clone(), edited.seq));
        assert_eq!(world.texts(&posted, 10).await, [(3, Some("public".to_owned())), (2, None), (1, None)]);
    }
    world.edit(&posted, "more").await;
    let texts = world.texts(&posted, 2).await;
    assert_eq!(texts, [(4, Some("more".to_owned())), (3, Some("public".to_owned())), (2, None), (1, None)]);
}

async fn a_retry_is_answered_with_the_current_message(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let store = &world.node.store;
    let send = |text: &str| chatsphere_core::store::NewMessage {
        client_message_id: Some(client_id("one")),
        ..new_message(room, world.ada.id, text)
    };
    let posted = store.submit(send("first")).await.unwrap().value;
    let edited = world.edit(&posted, "second").await.message;
    let again = store.submit(send("first")).await.unwrap();
    assert_eq!((again.value, again.replayed), (edited.clone(), true));
    // The content of a retry is compared with the first content.
    assert_eq!(store.submit(send("second")).await.err(), Some(Conflict::ClientMessageIdReused.into()));
    let forget = VersionsForgotten { room_id: room, message_id: posted.id, actor: Actor::Operator, at: now() };
    store.submit(forget).await.unwrap();
    for text in ["first", "second", "third"] {
        let again = store.submit(send(text)).await.unwrap();
        assert_eq!((again.value, again.replayed), (edited.clone(), true), "{text}");
    }
}

async fn a_page_shows_a_message_once_however_often_it_was_edited(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "0").await;
    for number in 1..=6 {
        world.edit(&posted, &number.to_string()).await;
    }
    let store = &world.node.store;
    let states = |events: &[Arc<chatsphere_core::Event>]| -> Vec<bool> {
        let shown = |event: &Arc<chatsphere_core::Event>| match &event.kind {
            EventKind::MessageChanged { message, .. } => Some(matches!(message, EventMessage::Shown(_))),
            _ => None,
        };
        events.iter().filter_map(shown).collect()
    };
    // Pages with the message itself, and without it. The newest event shows the message, unless the message is in the page in a
    // later state.
    for (after, limit, expected) in [
        (1, 7, vec![false, false, false, false, false, true]),
        (1, 4, vec![false, false, false]),
        (2, 3, vec![false, false, true]),
        (2, 9, vec![false, false, false, false, false, true]),
    ] {
        let page = store.events_after(room, Access::Any, Seq::new(after), limit).await.unwrap();
        assert_eq!(states(&page.events), expected, "after {after}, {limit}");
    }
    let newest = store.newest(room, Access::Any, 1, 9).await.unwrap();
    assert_eq!(states(&newest.others), [false, false, false, false, false, true]);
}

async fn a_page_of_edits_is_bounded_by_bytes(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for _ in 0..50 {
        posted.push(world.post(room, "short").await);
    }
    for message in &posted {
        world.edit(message, &"x".repeat(32 * 1024)).await;
    }
    let (store, from) = (&world.node.store, posted.last().unwrap().seq);
    let (mut after, mut pages) = (from, 0);
    loop {
        let page = store.events_after(room, Access::Any, after, 200).await.unwrap();
        let bytes: usize = page.events.iter().map(|event| chatsphere_core::EncodedLen::encoded_len(&**event)).sum();
        assert!(bytes <= PAGE_BYTES && !page.events.is_empty(), "{bytes}");
        pages += 1;
        after = page.events.last().unwrap().seq;
        if after == page.head {
            break;
        }
    }
    assert_eq!((pages, after.get()), (2, from.get() + 50));
    let newest = store.newest(room, Access::Any, 50, 200).await.unwrap();
    let bytes: usize = newest.others.iter().map(|event| chatsphere_core::EncodedLen::encoded_len(&**event)).sum();
    assert!(bytes <= PAGE_BYTES && newest.from > from, "{bytes}, {}", newest.from);
    assert_eq!(newest.others.first().unwrap().seq, newest.from);
}

async fn edits_and_messages_of_one_batch_are_in_order(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "0").await;
    let store = &world.node.store;
    let mut edits = Vec::new();
    let mut posts = Vec::new();
    for number in 1..=20 {
        edits.push(store.submit(edit(room, posted.id, world.ada.id, &number.to_string())));
        posts.push(store.submit(new_message(room, world.ada.id, "x")));
    }
    for (number, (edit, post)) in (0..).zip(edits.into_iter().zip(posts)) {
        let (edited, posted_at) = (edit.await.unwrap(), post.await.unwrap().value.seq);
        assert_eq!((edited.seq.get(), posted_at.get()), (posted.seq.get() + 2 * number + 1, posted.seq.get() + 2 * number + 2));
    }
    let events = all_events(&world.node, room).await;
    assert!(events.windows(2).all(|pair| pair[1].seq == pair[0].seq.next()));
}

async fn a_cached_page_shows_an_edit(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let (store, pages) = (&*world.node.store, chatsphere_core::PageCache::default());
    let posted = world.post(room, "first").await;
    for text in ["second", "third"] {
        pages.history(store, room, Access::Any, 10, async { Ok(()) }).await.unwrap();
        world.edit(&posted, text).await;
        let (page, _) = pages.history(store, room, Access::Any, 10, async { Ok(()) }).await.unwrap();
        assert_eq!(page.messages[0].content.as_str(), text);
    }
}

async fn edits_on_two_nodes_have_consecutive_versions(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let other = fixture.node().await;
    let room = world.room().await.id;
    let posted = world.post(room, "0").await;
    let mut edits = Vec::new();
    for number in 0..20 {
        let store = if number % 2 == 0 { &world.node.store } else { &other.store };
        edits.push(store.submit(edit(room, posted.id, world.ada.id, &format!("text {number}"))));
    }
    let mut versions = Vec::new();
    for edit in edits {
        versions.push(edit.await.unwrap().message.version().get());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=21).collect::<Vec<_>>());
    assert_eq!(world.texts(&posted, 7).await.len(), 21);
}
