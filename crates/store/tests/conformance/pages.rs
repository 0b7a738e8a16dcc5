//! Tests of pages of a room's events and of messages of all rooms, exactly at their borders.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{History, HistoryRange, MessageFilter, NewRoom, Newest, PAGE_BYTES, RoomFilter, UserChange};
use chatsphere_core::{
    Access, Actor, Content, ControlPosition, EncodedLen, Error, Forbidden, Message, NotFound, PageCache, RoomId, RoomName, Seq,
    Shared, Store, Timestamp, UserId,
};

use crate::fixture::{Fixture, on_postgres};
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, first, new_message, new_room, new_token, text_of};

on_every_database!(
    history_ends_where_it_says,
    history_counts_messages_alone,
    events_come_without_a_gap,
    the_newest_part_says_where_it_begins,
    an_empty_room_has_empty_pages,
    pages_are_for_members,
    messages_across_rooms_are_newest_first,
    pages_are_bounded_by_bytes,
    pages_are_bounded_by_their_json,
    pages_of_every_list_are_bounded,
    one_message_larger_than_a_page_is_a_page,
    a_cached_page_is_current,
);

async fn history(
    pages: &PageCache,
    store: &dyn Store,
    room: RoomId,
    access: Access,
    limit: usize,
) -> Result<Arc<Shared<History>>, Error> {
    Ok(pages.history(store, room, access, limit, async { Ok(()) }).await?.0)
}

async fn newest(pages: &PageCache, store: &dyn Store, room: RoomId, access: Access) -> Result<Arc<Shared<Newest>>, Error> {
    Ok(pages.newest(store, room, access, (50, 50), async { Ok(()) }).await?.0)
}

/// The newest page of a room may be cached between two reads. It must be current, and only users who may read the room now get
/// it.
async fn a_cached_page_is_current(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await.id, &*world.node.store);
    let pages = PageCache::default();
    world.add(room, world.bob.id).await;
    let (ada, bob) = (Access::Member(world.ada.id), Access::Member(world.bob.id));
    let mut posted = Vec::new();
    for number in 0..3 {
        posted.push(world.post(room, &number.to_string()).await);
        for access in [ada, bob, Access::Any, ada] {
            let shown = history(&pages, store, room, access, 2).await.unwrap();
            assert_eq!(shown.messages, posted[posted.len().saturating_sub(2)..]);
            assert_eq!(shown.has_older, posted.len() > 2);
            let whole = history(&pages, store, room, access, 50).await.unwrap();
            assert_eq!(whole.messages, posted);
            let joined = newest(&pages, store, room, access).await.unwrap();
            assert_eq!((&joined.messages, joined.head), (&posted, posted.last().unwrap().seq));
        }
    }
    let wish = UserChange {
        user_id: world.ada.id,
        username: Some(crate::world::name("Countess")),
        role: None,
        disabled: None,
        actor: Actor::Operator,
        at: Timestamp::from_millis(1_795_341_370_000),
    };
    store.submit(wish).await.unwrap();
    let shown = history(&pages, store, room, bob, 50).await.unwrap();
    assert!(shown.messages.iter().all(|message| message.author.username.as_str() == "Countess"));
    let joined = newest(&pages, store, room, bob).await.unwrap();
    assert!(joined.messages.iter().all(|message| message.author.username.as_str() == "Countess"));
    world.remove(room, world.bob.id).await;
    let refused = Some(Error::from(Forbidden::NotAMember));
    assert_eq!(history(&pages, store, room, bob, 50).await.err(), refused);
    assert_eq!(newest(&pages, store, room, bob).await.err(), refused);
    assert_eq!(newest(&pages, store, room, ada).await.unwrap().others.len(), 3);
}

async fn history_ends_where_it_says(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    // The messages have the numbers 2 to 11.
    for number in 2..=11 {
        world.post(room, &number.to_string()).await;
    }
    let at = Seq::new;
    for (range, limit, from, to, has_older, has_newer) in [
        (HistoryRange::Newest, 9, 3, 11, true, false),
        (HistoryRange::Newest, 10, 2, 11, false, false),
        (HistoryRange::Newest, 11, 2, 11, false, false),
        (HistoryRange::Before(at(12)), 4, 8, 11, true, false),
        (HistoryRange::Before(at(11)), 4, 7, 10, true, true),
        (HistoryRange::Before(at(6)), 3, 3, 5, true, true),
        (HistoryRange::Before(at(6)), 4, 2, 5, false, true),
        (HistoryRange::Before(at(6)), 5, 2, 5, false, true),
        (HistoryRange::Before(Seq::MAX), 1, 11, 11, true, false),
        (HistoryRange::After(at(0)), 3, 2, 4, false, true),
        (HistoryRange::After(at(1)), 3, 2, 4, false, true),
        (HistoryRange::After(at(2)), 3, 3, 5, true, true),
        (HistoryRange::After(at(7)), 3, 8, 10, true, true),
        (HistoryRange::After(at(7)), 4, 8, 11, true, false),
        (HistoryRange::After(at(7)), 5, 8, 11, true, false),
    ] {
        let page = world.node.store.history(room, Access::Member(world.ada.id), range, limit).await.unwrap();
        let seqs: Vec<u64> = page.messages.iter().map(|message| message.seq.get()).collect();
        assert_eq!(seqs, (from..=to).collect::<Vec<_>>(), "{range:?} {limit}");
        assert_eq!((page.has_older, page.has_newer, page.head), (has_older, has_newer, at(11)), "{range:?} {limit}");
    }
    for (range, has_older, has_newer) in [
        (HistoryRange::Before(at(2)), false, true),
        (HistoryRange::Before(at(0)), false, true),
        (HistoryRange::After(at(11)), true, false),
        (HistoryRange::After(Seq::MAX), true, false),
    ] {
        let page = world.node.store.history(room, Access::Any, range, 5).await.unwrap();
        assert!(page.messages.is_empty());
        assert_eq!((page.has_older, page.has_newer), (has_older, has_newer), "{range:?}");
    }
}

async fn history_counts_messages_alone(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for _ in 0..4 {
        posted.push(world.post(room, "x").await);
        world.add(room, world.bob.id).await;
        world.remove(room, world.bob.id).await;
    }
    let page = world.node.store.history(room, Access::Any, HistoryRange::Newest, 4).await.unwrap();
    assert_eq!((&page.messages[..], page.has_older, page.has_newer), (&posted[..], false, false));
    let page = world.node.store.history(room, Access::Any, HistoryRange::After(posted[2].seq), 1).await.unwrap();
    assert_eq!((&page.messages[..], page.has_older, page.has_newer), (&posted[3..], true, false));
}

async fn events_come_without_a_gap(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    for number in 0..5 {
        world.post(room, "x").await;
        world.add(room, world.bob.id).await;
        if number % 2 == 0 {
            world.remove(room, world.bob.id).await;
        }
    }
    let all = all_events(&world.node, room).await;
    let head = all.last().unwrap().seq;
    for after in 0..=all.len() + 1 {
        for limit in [1, 2, 3, all.len(), all.len() + 1] {
            let page = world.node.store.events_after(room, Access::Any, Seq::new(after as u64), limit).await.unwrap();
            let from = after.min(all.len());
            let expected = &all[from..(from + limit).min(all.len())];
            assert_eq!(page.events.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), expected);
            assert_eq!(page.head, head);
        }
    }
}

async fn the_newest_part_says_where_it_begins(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    for number in 0..6 {
        world.post(room, &number.to_string()).await;
        world.add(room, world.bob.id).await;
        world.remove(room, world.bob.id).await;
    }
    let all = all_events(&world.node, room).await;
    let messages: Vec<_> = all.iter().filter(|event| text_of(event).is_some()).map(|event| event.seq).collect();
    for message_limit in [0, 1, 2, 5, 6, 7, 50] {
        for other_limit in [0, 1, 2, 3, 12, 13, 14, 50] {
            let newest = world.node.store.newest(room, Access::Member(world.ada.id), message_limit, other_limit).await.unwrap();
            let case = format!("{message_limit} {other_limit}");
            assert_eq!(newest.head.get(), all.len() as u64, "{case}");
            let seqs: Vec<_> = newest.messages.iter().map(|message| message.seq).collect();
            assert_eq!(seqs, messages[messages.len().saturating_sub(message_limit)..], "{case}");
            assert!(newest.others.len() <= other_limit, "{case}");
            // From `from` on, no event is missing.
            let mut here: Vec<_> = seqs.iter().copied().chain(newest.others.iter().map(|event| event.seq)).collect();
            here.retain(|seq| *seq >= newest.from);
            here.sort();
            let expected: Vec<_> = (newest.from.get()..=newest.head.get()).map(Seq::new).collect();
            assert_eq!(here, expected, "{case}");
            assert!(newest.others.iter().all(|event| event.seq >= newest.from), "{case}");
            if message_limit >= 6 && other_limit >= 13 {
                assert_eq!(newest.from, Seq::new(1), "{case}");
            } else if other_limit >= 13 && message_limit > 0 {
                assert_eq!(newest.from, seqs[0], "{case}");
            }
        }
    }
}

async fn an_empty_room_has_empty_pages(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let store = &world.node.store;
    for range in [HistoryRange::Newest, HistoryRange::Before(Seq::new(5)), HistoryRange::After(Seq::ZERO)] {
        let page = store.history(room, Access::Member(world.ada.id), range, 5).await.unwrap();
        assert_eq!((page.messages.len(), page.has_older, page.has_newer, page.head), (0, false, false, Seq::new(1)));
    }
    let newest = store.newest(room, Access::Member(world.ada.id), 5, 5).await.unwrap();
    assert_eq!((newest.messages.len(), newest.others.len(), newest.from, newest.head), (0, 1, Seq::new(1), Seq::new(1)));
    let page = store.events_after(room, Access::Member(world.ada.id), Seq::new(1), 5).await.unwrap();
    assert_eq!((page.events.len(), page.head), (0, Seq::new(1)));
    assert_eq!(store.messages(MessageFilter::default(), first(5)).await.unwrap().items, []);
}

async fn pages_are_for_members(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let store = &world.node.store;
    let nowhere = RoomId::new(Timestamp::from_millis(1));
    let denied = Error::from(Forbidden::NotAMember);
    for (room, access, expected) in [
        (room, Access::Member(world.bob.id), &denied),
        (room, Access::Member(UserId::new(Timestamp::from_millis(1))), &denied),
        (nowhere, Access::Member(world.ada.id), &denied),
        (nowhere, Access::Any, &Error::NotFound(NotFound::Room)),
    ] {
        assert_eq!(store.history(room, access, HistoryRange::Newest, 5).await.as_ref(), Err(expected));
        assert_eq!(store.history(room, access, HistoryRange::After(Seq::ZERO), 5).await.as_ref(), Err(expected));
        assert_eq!(store.history(room, access, HistoryRange::Before(Seq::MAX), 5).await.as_ref(), Err(expected));
        assert_eq!(store.events_after(room, access, Seq::ZERO, 5).await.as_ref(), Err(expected));
        assert_eq!(store.newest(room, access, 5, 5).await.as_ref(), Err(expected));
        assert_eq!(store.members(room, access, first(5)).await.as_ref(), Err(expected));
        assert_eq!(store.room(room, access).await.as_ref(), Err(expected));
    }
}

async fn messages_across_rooms_are_newest_first(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let (ada, bob) = (world.ada.id, world.bob.id);
    let rooms = [world.room().await, world.room().await, world.room().await];
    world.add(rooms[0].id, bob).await;
    world.add(rooms[1].id, bob).await;
    let mut all: Vec<Message> = Vec::new();
    for number in 0..12 {
        let mut new = new_message(rooms[number % 3].id, if number % 2 == 0 { ada } else { bob }, "x");
        new.access = Access::Any;
        all.insert(0, store.submit(new).await.unwrap().value);
    }
    let in_rooms = |indexes: &[usize]| Some(indexes.iter().map(|index| rooms[*index].id).collect::<Vec<_>>());
    for (author, seen_by, only) in [
        (None, None, None),
        (Some(ada), None, None),
        (Some(bob), Some(bob), None),
        (Some(bob), Some(bob), in_rooms(&[1, 2])),
        (Some(ada), None, in_rooms(&[2])),
        (None, Some(bob), None),
        (None, None, in_rooms(&[0, 2])),
        (None, Some(bob), in_rooms(&[0, 2])),
        (None, None, Some(vec![])),
        (None, None, Some(vec![RoomId::new(Timestamp::from_millis(1))])),
        (Some(UserId::new(Timestamp::from_millis(1))), None, None),
        (None, Some(UserId::new(Timestamp::from_millis(1))), None),
    ] {
        let expected: Vec<_> = all
            .iter()
            .filter(|message| author.is_none_or(|author| message.author.id == author))
            .filter(|message| {
                let is_member = |user| user == ada || (user == bob && message.room_id != rooms[2].id);
                seen_by.is_none_or(is_member)
            })
            .filter(|message| only.as_ref().is_none_or(|only| only.contains(&message.room_id)))
            .cloned()
            .collect();
        for limit in [1, 2, 5, 12, 13] {
            let filter = MessageFilter { author, seen_by, rooms: only.clone() };
            let listed = all_pages(limit, |page| store.messages(filter.clone(), page)).await;
            for item in &listed {
                let room = rooms.iter().find(|room| room.id == item.message.room_id).unwrap();
                assert_eq!(item.room_name, room.name);
                assert_eq!((item.room_created_at, item.room_updated_at), (room.created_at, room.updated_at));
            }
            let listed: Vec<_> = listed.into_iter().map(|item| item.message).collect();
            assert_eq!(listed, expected, "{author:?} {seen_by:?} {only:?} {limit}");
        }
    }
}

fn bytes<'a, T: EncodedLen + 'a>(items: impl IntoIterator<Item = &'a T>) -> usize {
    items.into_iter().map(EncodedLen::encoded_len).sum()
}

async fn pages_are_bounded_by_bytes(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let rooms = [world.room().await.id, world.room().await.id];
    let text = "x".repeat(32 * 1024);
    let full = PAGE_BYTES / (text.len() + 512);
    // The first room has messages 2 to 81, a membership that begins at 82 and ends at 83, and message 84.
    for _ in 0..80 {
        world.post(rooms[0], &text).await;
    }
    world.add(rooms[0], world.bob.id).await;
    world.remove(rooms[0], world.bob.id).await;
    let last = world.post(rooms[0], &text).await;
    assert_eq!(last.seq, Seq::new(84));
    for _ in 0..10 {
        world.post(rooms[1], &text).await;
    }

    let seqs = |messages: &[Message]| messages.iter().map(|message| message.seq.get()).collect::<Vec<_>>();
    let access = Access::Member(world.ada.id);
    let newest = store.history(rooms[0], access, HistoryRange::Newest, 200).await.unwrap();
    assert_eq!(seqs(&newest.messages), (52..=81).chain([84]).collect::<Vec<_>>());
    assert_eq!((newest.messages.len(), newest.has_older, newest.has_newer), (full, true, false));
    let before = store.history(rooms[0], access, HistoryRange::Before(Seq::new(52)), 200).await.unwrap();
    assert_eq!(seqs(&before.messages), (21..=51).collect::<Vec<_>>());
    assert_eq!((before.has_older, before.has_newer), (true, true));
    let first_of_all = store.history(rooms[0], access, HistoryRange::Before(Seq::new(21)), 200).await.unwrap();
    assert_eq!(seqs(&first_of_all.messages), (2..=20).collect::<Vec<_>>());
    assert_eq!((first_of_all.has_older, first_of_all.has_newer), (false, true));
    let after = store.history(rooms[0], access, HistoryRange::After(Seq::ZERO), 200).await.unwrap();
    assert_eq!(seqs(&after.messages), (2..=32).collect::<Vec<_>>());
    assert_eq!((after.has_older, after.has_newer), (false, true));
    // A page whose bytes are exactly used up does not imply that more follows.
    let rest = store.history(rooms[0], access, HistoryRange::After(Seq::new(51)), 200).await.unwrap();
    assert_eq!((rest.messages.len(), rest.has_older, rest.has_newer), (full, true, false));

    let events = store.events_after(rooms[0], access, Seq::ZERO, 100).await.unwrap();
    assert_eq!((events.events.len(), events.head), (1 + full, last.seq));
    // The other events lie after the message that ended the page, or are in it.
    let events = store.events_after(rooms[0], access, Seq::new(50), 100).await.unwrap();
    assert_eq!(events.events.last().unwrap().seq, Seq::new(81 + 2));
    let events = store.events_after(rooms[0], access, Seq::new(51), 100).await.unwrap();
    assert_eq!(events.events.last().unwrap().seq, events.head);
    assert_eq!(all_events(&world.node, rooms[0]).await.len(), 84);

    let newest = store.newest(rooms[0], access, 50, 50).await.unwrap();
    assert_eq!(seqs(&newest.messages), (52..=81).chain([84]).collect::<Vec<_>>());
    assert_eq!((newest.others.len(), newest.from, newest.head), (2, Seq::new(52), Seq::new(84)));

    for (author, seen_by, only) in [
        (None, None, None),
        (Some(world.ada.id), None, None),
        (None, Some(world.ada.id), None),
        (None, None, Some(rooms.to_vec())),
    ] {
        let filter = MessageFilter { author, seen_by, rooms: only };
        let (mut request, mut listed) = (first(200), Vec::new());
        loop {
            let page = store.messages(filter.clone(), request).await.unwrap();
            assert!(bytes(&page.items) <= PAGE_BYTES);
            listed.extend(page.items.into_iter().map(|item| item.message));
            request.cursor = page.next;
            if page.next.is_none() {
                break;
            }
            assert_eq!(listed.len() % full, 0);
        }
        assert_eq!(listed.len(), 91, "{filter:?}");
        assert_eq!(seqs(&listed[..11]), (2..=11).rev().chain([84]).collect::<Vec<_>>());
    }
}

/// JSON encodes some characters in six bytes.
async fn pages_are_bounded_by_their_json(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let room = world.room().await.id;
    let text = "\u{1}".repeat(32 * 1024);
    for _ in 0..12 {
        world.post(room, &text).await;
    }
    let full = PAGE_BYTES / (6 * text.len() + 512);
    for range in [HistoryRange::Newest, HistoryRange::Before(Seq::new(12)), HistoryRange::After(Seq::ZERO)] {
        let page = store.history(room, Access::Any, range, 200).await.unwrap();
        assert_eq!(page.messages.len(), full, "{range:?}");
        assert!(bytes(&page.messages) <= PAGE_BYTES, "{range:?}");
    }
    let events = store.events_after(room, Access::Any, Seq::ZERO, 200).await.unwrap();
    assert!(bytes(events.events.iter().map(|event| &**event)) <= PAGE_BYTES);
    assert_eq!(events.events.len(), 1 + full);
    let newest = store.newest(room, Access::Any, 50, 200).await.unwrap();
    assert_eq!((newest.messages.len(), newest.from), (full, Seq::new(13 - full as u64 + 1)));
    let page = store.messages(MessageFilter::default(), first(200)).await.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (full, true));
}

async fn pages_of_every_list_are_bounded(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let mut rooms = Vec::new();
    for _ in 0..30 {
        let new = NewRoom { name: RoomName::from_stored("x".repeat(100_000)), ..new_room(world.ada.id) };
        rooms.push(store.submit(new).await.unwrap().value.id);
        let mut token = new_token(world.ada.id, None);
        token.token.permissions.rooms = Some(vec![rooms[0]; 1_000]);
        store.submit(token).await.unwrap();
    }
    for member in [None, Some(world.ada.id)] {
        for only in [None, Some(rooms.clone())] {
            let filter = RoomFilter { member, rooms: only };
            let (mut request, mut listed) = (first(200), Vec::new());
            loop {
                let page = store.rooms(filter.clone(), request).await.unwrap();
                assert!(bytes(&page.items) <= PAGE_BYTES);
                listed.extend(page.items.into_iter().map(|room| room.id));
                request.cursor = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            assert_eq!(listed, rooms, "{filter:?}");
        }
    }
    let page = store.tokens(first(200)).await.unwrap();
    assert!(bytes(&page.items) <= PAGE_BYTES && page.next.is_some());
}

async fn one_message_larger_than_a_page_is_a_page(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let room = world.room().await.id;
    for _ in 0..2 {
        let mut new = new_message(room, world.ada.id, "x");
        new.content = Content::from_stored("x".repeat(PAGE_BYTES + 1));
        store.submit(new).await.unwrap();
    }
    for (range, seq, has_older) in [(HistoryRange::Newest, 3, true), (HistoryRange::After(Seq::ZERO), 2, false)] {
        let page = store.history(room, Access::Any, range, 10).await.unwrap();
        assert_eq!((page.messages.len(), page.messages[0].seq.get()), (1, seq));
        assert_eq!((page.has_older, page.has_newer), (has_older, !has_older));
    }
    let events = store.events_after(room, Access::Any, Seq::new(1), 10).await.unwrap();
    assert_eq!((events.events.len(), events.head), (1, Seq::new(3)));
    let newest = store.newest(room, Access::Any, 10, 10).await.unwrap();
    assert_eq!((newest.messages.len(), newest.others.len(), newest.from), (1, 0, Seq::new(3)));
    let page = store.messages(MessageFilter::default(), first(10)).await.unwrap();
    assert!(page.items.len() == 1 && page.next.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn urgent_reads_do_not_wait_behind_pages() {
    on_postgres(|fixture| async move {
        let node = fixture.node_with(|options| options.readers = 2).await.unwrap();
        let world = World::on(node).await;
        let (room, token) = (world.room().await.id, new_token(world.ada.id, None));
        let store = &world.node.store;
        store.submit(token.clone()).await.unwrap();

        // Reads of messages wait for this lock, and other page reads for a connection.
        let client = fixture.connected().await;
        client.batch_execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut pages = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(store);
            pages.spawn(async move { store.history(room, Access::Any, HistoryRange::Newest, 5).await });
        }
        while tokio::time::timeout(Duration::from_millis(50), store.user(world.ada.id)).await.is_ok() {}

        let urgent = async {
            assert_eq!(store.control_after(ControlPosition(0), 10).await, Ok(Vec::new()));
            assert_eq!(store.control_head().await, Ok(ControlPosition(0)));
            assert_eq!(store.token(token.token.id).await.unwrap().unwrap().token, token.token);
            assert_eq!(store.heads(&[room]).await, Ok(vec![(room, Seq::new(1))]));
            assert!(store.room_relation(room, world.ada.id).await.unwrap().unwrap().member);
            assert!(store.size().await.unwrap() > 4_096);
            assert_eq!(store.ping().await, Ok(()));
        };
        tokio::time::timeout(Duration::from_secs(3), urgent).await.unwrap();
        client.batch_execute("ROLLBACK").await.unwrap();
        assert!(pages.join_all().await.iter().all(Result::is_ok));
    })
    .await;
}
