//! Tests of reading one message, and the page around a place.

use std::sync::Arc;

use chatsphere_core::store::{HistoryRange, PAGE_BYTES, Place};
use chatsphere_core::{Access, EncodedLen, Error, Forbidden, Message, MessageId, NotFound, RoomId, Seq};

use crate::edits::edit;
use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, now};

on_every_database!(
    a_message_is_read_as_it_is_now,
    a_page_around_a_place_is_exact,
    a_page_around_a_place_is_bounded_by_bytes,
    a_message_that_is_not_there_is_not_found,
);

impl World {
    async fn read(&self, room: RoomId, access: Access, message: MessageId) -> Result<Message, Error> {
        let read = self.node.store.message(room, access, message).await?;
        assert_eq!(read.head, self.node.store.room(room, Access::Any).await.unwrap().seq);
        Ok(read.message)
    }

    async fn around(&self, room: RoomId, place: Place, limit: usize) -> (Vec<Message>, bool, bool) {
        self.messages_of(room, HistoryRange::Around(place), limit).await
    }
}

async fn a_message_is_read_as_it_is_now(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let posted = world.post(room, "hello").await;
    let member = Access::Member(world.ada.id);
    assert_eq!(world.read(room, member, posted.id).await, Ok(posted.clone()));
    let edited = world.node.store.submit(edit(room, posted.id, world.ada.id, "edited")).await.unwrap().message;
    assert_eq!(world.read(room, Access::Any, posted.id).await, Ok(edited));
    let deleted = world.delete(&posted, world.ada.id).await.message;
    assert_eq!(world.read(room, member, posted.id).await, Ok(deleted));
}

/// The page that a room with these messages has around a number.
fn expected(room: &[Message], seq: u64, limit: usize) -> (Vec<Message>, bool, bool) {
    let place = room.partition_point(|message| message.seq.get() < seq);
    let (mut first, mut end) = (place, place);
    for turn in 0.. {
        let is_full = end - first == limit || end - first == room.len();
        match turn % 2 {
            _ if is_full => break,
            0 if end < room.len() => end += 1,
            1 if first > 0 => first -= 1,
            _ => {}
        }
    }
    (room[first..end].to_vec(), first > 0, end < room.len())
}

async fn a_page_around_a_place_is_exact(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    // A room without messages has none around any place.
    assert_eq!(world.around(room, Place::At(Seq::new(1)), 3).await, (Vec::new(), false, false));
    let mut posted = Vec::new();
    for number in 0..9 {
        posted.push(world.post(room, &format!("number {number}")).await);
        match number % 4 {
            1 => drop(world.add(room, world.bob.id).await),
            3 => drop(world.remove(room, world.bob.id).await),
            _ => {}
        }
    }
    for lanes in ["only lane 0", "also lane 1", "all lanes"] {
        match lanes {
            "also lane 1" => {
                for place in [0, 4, 8] {
                    posted[place] = world.delete(&posted[place], world.ada.id).await.message;
                }
            }
            "all lanes" => {
                fixture.execute("UPDATE messages SET lane = 2 WHERE content IN ('number 2', 'number 5')").await;
                fixture.execute("UPDATE messages SET lane = 3 WHERE content IN ('number 1', 'number 7')").await;
                fixture.execute("UPDATE rooms SET lanes = 15").await;
            }
            _ => {}
        }
        let head = world.node.store.room(room, Access::Any).await.unwrap().seq.get();
        for limit in 1..=10 {
            for seq in 0..=head + 2 {
                let page = world.around(room, Place::At(Seq::new(seq)), limit).await;
                assert_eq!(page, expected(&posted, seq, limit), "{lanes}, {seq} by {limit}");
            }
            for message in &posted {
                let page = world.around(room, Place::Of(message.id), limit).await;
                assert_eq!(page, expected(&posted, message.seq.get(), limit), "{lanes}, {} by {limit}", message.seq);
                assert!(page.0.contains(message));
            }
        }
    }
    let page = world.around(room, Place::At(Seq::MAX), 2).await;
    assert_eq!(page, expected(&posted, u64::MAX, 2));
}

async fn a_page_around_a_place_is_bounded_by_bytes(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await.id;
    let mut posted = Vec::new();
    for _ in 0..80 {
        posted.push(world.post(room, &"x".repeat(32 * 1024)).await);
    }
    let fit = PAGE_BYTES / posted[0].encoded_len();
    for place in [0, 1, 40, 79] {
        let (messages, has_older, has_newer) = world.around(room, Place::Of(posted[place].id), 80).await;
        assert_eq!(messages.len(), fit, "{place}");
        let first = posted.iter().position(|message| *message == messages[0]).unwrap();
        assert_eq!(messages, posted[first..first + fit]);
        assert_eq!((has_older, has_newer), (first > 0, first + fit < posted.len()), "{place}");
        assert!(messages.contains(&posted[place]));
    }
}

async fn a_message_that_is_not_there_is_not_found(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, other) = (world.room().await.id, world.room().await.id);
    let elsewhere = world.post(other, "hello").await;
    let stranger = Access::Member(world.bob.id);
    for (access, error) in [
        (Access::Any, Error::NotFound(NotFound::Message)),
        (Access::Member(world.ada.id), Error::NotFound(NotFound::Message)),
        (stranger, Forbidden::NotAMember.into()),
    ] {
        for id in [elsewhere.id, MessageId::new(now())] {
            let page = world.node.store.history(room, access, HistoryRange::Around(Place::Of(id)), 5).await;
            assert_eq!((page.err(), world.read(room, access, id).await.err()), (Some(error.clone()), Some(error.clone())));
        }
    }
    assert_eq!(world.read(other, stranger, elsewhere.id).await.err(), Some(Forbidden::NotAMember.into()));
    let nowhere = RoomId::new(now());
    let page = world.node.store.history(nowhere, Access::Any, HistoryRange::Around(Place::Of(elsewhere.id)), 5).await;
    assert_eq!(page.err(), Some(Error::NotFound(NotFound::Room)));
    let read = world.node.store.message(nowhere, Access::Any, elsewhere.id).await;
    assert_eq!(read.err(), Some(Error::NotFound(NotFound::Room)));
}
