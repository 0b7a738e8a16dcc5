//! Tests of rooms, and of users' relations to them.

use std::sync::Arc;

use chatsphere_core::store::{RoomFilter, RoomRelation};
use chatsphere_core::{Access, Error, EventKind, Forbidden, NotFound, Room, RoomId, Seq, Timestamp, UserId};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, new_room};

on_every_database!(
    a_room_begins_with_its_owner,
    a_room_needs_its_users,
    a_room_is_seen_by_its_members,
    the_relation_has_owner_and_membership,
    rooms_are_listed_in_the_order_they_were_made,
    heads_are_returned_for_rooms_that_exist,
);

async fn a_room_begins_with_its_owner(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let mut new = new_room(world.bob.id);
    new.by = world.ada.id;
    let done = world.node.store.submit(new.clone()).await.unwrap();
    assert!(!done.replayed);
    let expected = Room {
        id: new.id,
        name: new.name,
        owner: world.bob.id,
        created_at: new.at,
        updated_at: new.at,
        seq: Seq::new(1),
        message_count: 0,
        member_count: 1,
    };
    assert_eq!(done.value, expected);
    assert_eq!(world.node.store.room(new.id, Access::Any).await, Ok(expected));
    let events = all_events(&world.node, new.id).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].at, new.at);
    match &events[0].kind {
        EventKind::MemberJoined { user, by } => assert_eq!((user.id, by.id), (world.bob.id, world.ada.id)),
        other => panic!("{other:?}"),
    }
    assert_eq!(*world.node.sink.events()[0], events[0]);
}

async fn a_room_needs_its_users(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let nobody = UserId::new(Timestamp::from_millis(1));
    let absent = Err(Error::NotFound(NotFound::User));
    assert_eq!(world.node.store.submit(new_room(nobody)).await, absent);
    let mut by_nobody = new_room(world.ada.id);
    by_nobody.by = nobody;
    assert_eq!(world.node.store.submit(by_nobody.clone()).await, absent);
    assert_eq!(world.node.store.room(by_nobody.id, Access::Any).await, Err(Error::NotFound(NotFound::Room)));
}

async fn a_room_is_seen_by_its_members(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    assert_eq!(store.room(room.id, Access::Member(world.ada.id)).await, Ok(room.clone()));
    assert_eq!(store.room(room.id, Access::Member(world.bob.id)).await, Err(Forbidden::NotAMember.into()));
    let nowhere = RoomId::new(Timestamp::from_millis(1));
    assert_eq!(store.room(nowhere, Access::Member(world.ada.id)).await, Err(Forbidden::NotAMember.into()));
    assert_eq!(store.room(nowhere, Access::Any).await, Err(Error::NotFound(NotFound::Room)));
}

async fn the_relation_has_owner_and_membership(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let room_relation = |member| Ok(Some(RoomRelation { owner: world.ada.id, member }));
    assert_eq!(store.room_relation(room.id, world.ada.id).await, room_relation(true));
    assert_eq!(store.room_relation(room.id, world.bob.id).await, room_relation(false));
    assert_eq!(store.room_relation(room.id, UserId::new(Timestamp::from_millis(1))).await, room_relation(false));
    world.remove(room.id, world.ada.id).await;
    assert_eq!(store.room_relation(room.id, world.ada.id).await, room_relation(false));
    assert_eq!(store.room_relation(RoomId::new(Timestamp::from_millis(1)), world.ada.id).await, Ok(None));
}

async fn rooms_are_listed_in_the_order_they_were_made(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let mut made = Vec::new();
    for number in 0..9 {
        let mut room = world.room().await;
        if number % 3 != 0 {
            world.add(room.id, world.bob.id).await;
            room = store.room(room.id, Access::Any).await.unwrap();
        }
        made.push(room);
    }
    let bobs: Vec<_> = made.iter().filter(|room| room.member_count == 2).cloned().collect();
    let some: Vec<_> =
        [7, 1, 3].map(|index| made[index].id).into_iter().chain([RoomId::new(Timestamp::from_millis(1))]).collect();
    for limit in [1, 2, 3, 5, 6, 7, 9, 10] {
        let list = async |member, rooms| {
            let filter = RoomFilter { member, rooms };
            all_pages(limit, |page| store.rooms(filter.clone(), page)).await
        };
        assert_eq!(list(None, None).await, made);
        assert_eq!(list(Some(world.bob.id), None).await, bobs);
        assert_eq!(list(None, Some(some.clone())).await, [made[1].clone(), made[3].clone(), made[7].clone()]);
        assert_eq!(list(Some(world.bob.id), Some(some.clone())).await, [made[1].clone(), made[7].clone()]);
        assert_eq!(list(None, Some(vec![])).await, []);
        assert_eq!(list(Some(UserId::new(Timestamp::from_millis(1))), None).await, []);
    }
}

async fn heads_are_returned_for_rooms_that_exist(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (one, two) = (world.room().await.id, world.room().await.id);
    world.post(two, "x").await;
    let mut heads = world.node.store.heads(&[two, RoomId::new(Timestamp::from_millis(1)), one]).await.unwrap();
    heads.sort();
    let mut expected = [(one, Seq::new(1)), (two, Seq::new(2))];
    expected.sort();
    assert_eq!(heads, expected);
    assert_eq!(world.node.store.heads(&[]).await, Ok(vec![]));
}
