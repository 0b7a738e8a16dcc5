//! Tests of pinned messages: their state, their events, their limit and their list.

use std::sync::Arc;

use chatsphere_core::store::{Changed, HistoryRange, PAGE_BYTES, PageRequest, PinChange};
use chatsphere_core::{
    Access, Actor, Conflict, EncodedLen, Error, EventKind, EventMessage, Forbidden, Message, MessageChangeKind, MessageId,
    NotFound, RoomId, Seq, UserId, Version,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, first, now};

on_every_database!(
    a_pin_is_a_state_and_an_event,
    a_pin_that_changes_nothing_adds_nothing,
    a_pin_outlives_edits_and_ends_with_the_message,
    a_room_has_so_many_pins,
    pins_are_listed_newest_first,
    a_list_of_pins_is_bounded_by_bytes,
    pins_are_for_members,
    every_read_shows_a_pin,
);

pub(crate) fn pin(room_id: RoomId, message_id: MessageId, by: UserId, pinned: bool) -> PinChange {
    PinChange { room_id, message_id, pinned, max: 100, by, actor: Actor::Operator, at: now() }
}

impl World {
    async fn pin(&self, message: &Message) -> Changed {
        self.node.store.submit(pin(message.room_id, message.id, self.ada.id, true)).await.unwrap()
    }

    async fn unpin(&self, message: &Message) -> Changed {
        self.node.store.submit(pin(message.room_id, message.id, self.bob.id, false)).await.unwrap()
    }

    async fn pins(&self, room: RoomId, limit: usize) -> Vec<Message> {
        all_pages(limit, |page| async move { Ok(self.node.store.pins(room, Access::Any, page).await?.page) }).await
    }
}

async fn a_pin_is_a_state_and_an_event(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "hello").await;
    let pinned = world.pin(&posted).await;
    let message = &pinned.message;
    // It is no version, and no update of what the message says.
    assert_eq!((message.version(), message.updated_at, message.change_seq()), (Version::FIRST, posted.updated_at, pinned.seq));
    let details = message.details.as_ref().unwrap();
    assert_eq!((details.pinned_at, details.pinned_by), (Some(pinned.at), Some(world.ada.id)));
    let unpinned = world.unpin(&posted).await;
    assert_eq!((unpinned.message.is_pinned(), unpinned.message.change_seq()), (false, unpinned.seq));
    assert_eq!(unpinned.message.details.as_ref().unwrap().pinned_by, None);
    let events = all_events(&world.node, room).await;
    let told: Vec<_> = world.node.sink.events().into_iter().filter(|event| event.room_id == room).collect();
    for (changed, how, by) in
        [(&pinned, MessageChangeKind::Pinned, world.ada.id), (&unpinned, MessageChangeKind::Unpinned, world.bob.id)]
    {
        let place = changed.seq.get() as usize - 1;
        assert_eq!((events[place].at, told[place].at), (changed.at, changed.at));
        let EventKind::MessageChanged { how: found, message, by: user } = &told[place].kind else { panic!() };
        assert_eq!((*found, user.id), (how, by));
        assert_eq!(message, &EventMessage::Shown(Box::new(changed.message.clone())));
        assert!(matches!(&events[place].kind, EventKind::MessageChanged { how: found, .. } if *found == how));
    }
    assert_eq!(world.pins(room, 10).await, []);
}

async fn a_pin_that_changes_nothing_adds_nothing(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let posted = world.post(world.room().await.id, "hello").await;
    let newest = world.unpin(&posted).await;
    assert_eq!((&newest.message, newest.seq), (&posted, posted.seq));
    let pinned = world.pin(&posted).await;
    // Who pinned it first stays.
    let again = world.node.store.submit(pin(posted.room_id, posted.id, world.bob.id, true)).await.unwrap();
    assert_eq!(again, pinned);
    let unpinned = world.unpin(&posted).await;
    let again = world.unpin(&posted).await;
    assert_eq!(again, unpinned);
    assert_eq!(all_events(&world.node, posted.room_id).await.last().unwrap().seq, unpinned.seq);
}

async fn a_pin_outlives_edits_and_ends_with_the_message(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "hello").await;
    let pinned = world.pin(&posted).await.message;
    let edited = world.edit(&posted, "hello, world").await.message;
    let at = |message: &Message| message.details.as_ref().unwrap().pinned_at;
    assert_eq!((at(&edited), edited.version().get()), (at(&pinned), 2));
    assert!(edited.updated_at > posted.updated_at);
    assert_eq!(world.pins(room, 10).await, std::slice::from_ref(&edited));
    // A pin leaves the time of the edit.
    world.unpin(&posted).await;
    assert_eq!(world.pin(&posted).await.message.updated_at, edited.updated_at);
    let deleted = world.delete(&posted, world.ada.id).await.message;
    assert!(!deleted.is_pinned());
    assert_eq!(deleted.details.as_ref().unwrap().pinned_by, None);
    assert_eq!(world.messages_of(room, HistoryRange::Newest, 5).await.0, std::slice::from_ref(&deleted));
    assert_eq!(world.pins(room, 10).await, []);
    let refused = world.node.store.submit(pin(room, posted.id, world.ada.id, true)).await.err();
    assert_eq!(refused, Some(Conflict::MessageDeleted.into()));
    assert_eq!(world.unpin(&posted).await.message, deleted);
}

async fn a_room_has_so_many_pins(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, other) = (world.room().await.id, world.room().await.id);
    let mut posted = Vec::new();
    for number in 0..8 {
        posted.push(world.post(room, &number.to_string()).await);
    }
    let elsewhere = world.post(other, "hello").await;
    world.pin(&elsewhere).await;
    let to_pin = |message: &Message| PinChange { max: 3, ..pin(room, message.id, world.ada.id, true) };
    let pending = world.in_one_batch(async || posted.iter().map(|message| world.node.store.submit(to_pin(message))).collect());
    let pending: Vec<_> = pending.await;
    for (place, pending) in pending.into_iter().enumerate() {
        let outcome = pending.await.map(drop);
        assert_eq!(outcome, if place < 3 { Ok(()) } else { Err(Conflict::TooManyPins.into()) }, "{place}");
    }
    // What is pinned may be pinned again, and each that ends makes room for one.
    let store = &world.node.store;
    store.submit(to_pin(&posted[0])).await.unwrap();
    world.unpin(&posted[0]).await;
    store.submit(to_pin(&posted[5])).await.unwrap();
    assert_eq!(store.submit(to_pin(&posted[6])).await.err(), Some(Conflict::TooManyPins.into()));
    world.delete(&posted[1], world.ada.id).await;
    store.submit(to_pin(&posted[6])).await.unwrap();
    assert_eq!(store.submit(to_pin(&posted[7])).await.err(), Some(Conflict::TooManyPins.into()));
    // Nodes decide in turn.
    let node = fixture.node().await;
    world.unpin(&posted[6]).await;
    let (here, there) = tokio::join!(store.submit(to_pin(&posted[6])), node.store.submit(to_pin(&posted[7])));
    assert!(here.is_ok() != there.is_ok(), "{here:?} {there:?}");
    assert_eq!(world.pins(room, 10).await.len(), 3);
}

async fn pins_are_listed_newest_first(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for number in 0..5 {
        posted.push(world.post(room, &number.to_string()).await);
    }
    for place in [3, 0, 4, 1] {
        world.pin(&posted[place]).await;
    }
    world.unpin(&posted[3]).await;
    world.pin(&posted[3]).await;
    world.unpin(&posted[4]).await;
    for limit in 1..=4 {
        let pinned = world.pins(room, limit).await;
        let contents: Vec<&str> = pinned.iter().map(|message| message.content.as_str()).collect();
        assert_eq!(contents, ["3", "1", "0"], "{limit}");
        assert!(pinned.iter().all(Message::is_pinned));
    }
    let pins = world.node.store.pins(room, Access::Any, first(10)).await.unwrap();
    assert_eq!(pins.head, world.node.store.room(room, Access::Any).await.unwrap().seq);
    let empty = world.room().await.id;
    assert_eq!(world.node.store.pins(empty, Access::Any, first(10)).await.unwrap().page.items, []);
}

async fn a_list_of_pins_is_bounded_by_bytes(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut pinned = Vec::new();
    for _ in 0..70 {
        let posted = world.post(room, &"x".repeat(32 * 1024)).await;
        pinned.push(world.pin(&posted).await.message);
    }
    pinned.reverse();
    let (mut seen, mut request) = (Vec::new(), first(200));
    loop {
        let page = world.node.store.pins(room, Access::Any, request).await.unwrap().page;
        assert!(page.items.iter().map(EncodedLen::encoded_len).sum::<usize>() <= PAGE_BYTES);
        seen.extend(page.items);
        match page.next {
            Some(cursor) => request = PageRequest { cursor: Some(cursor), ..request },
            None => break,
        }
    }
    assert_eq!(seen, pinned);
}

async fn pins_are_for_members(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "hello").await;
    world.pin(&posted).await;
    let read = async |access| world.node.store.pins(room, access, first(10)).await.map(|pins| pins.page.items.len());
    assert_eq!(read(Access::Member(world.ada.id)).await, Ok(1));
    assert_eq!(read(Access::Member(world.bob.id)).await, Err(Forbidden::NotAMember.into()));
    let nowhere = world.node.store.pins(RoomId::new(now()), Access::Any, first(10)).await;
    assert_eq!(nowhere.err(), Some(Error::NotFound(NotFound::Room)));
    let (other, unknown) = (world.room().await.id, MessageId::new(now()));
    for (room, message) in [(other, posted.id), (room, unknown)] {
        let refused = world.node.store.submit(pin(room, message, world.ada.id, true)).await.err();
        assert_eq!(refused, Some(Error::NotFound(NotFound::Message)));
    }
}

async fn every_read_shows_a_pin(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "hello").await;
    let other = fixture.node().await;
    for node in [&world.node, &other] {
        node.store.newest(room, Access::Any, 10, 10).await.unwrap();
    }
    let pinned = world.pin(&posted).await.message;
    for node in [&world.node, &other] {
        let page = node.store.newest(room, Access::Any, 10, 10).await.unwrap().page;
        assert_eq!(page.messages, std::slice::from_ref(&pinned));
        assert_eq!(node.store.message(room, Access::Any, posted.id).await.unwrap().message, pinned);
        let events = node.store.events_after(room, Access::Any, Seq::new(posted.seq.get() - 1), 1).await.unwrap().events;
        assert_eq!(events[0].message(), Some(&pinned));
        let events = node.store.events_after(room, Access::Any, posted.seq, 1).await.unwrap().events;
        assert_eq!(events[0].shown_message(), Some(&pinned));
        assert_eq!(node.store.messages(Default::default(), first(1)).await.unwrap().items[0].message, pinned);
    }
}
