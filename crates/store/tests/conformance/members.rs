//! Tests of memberships.

use std::sync::Arc;

use chatsphere_core::store::{MemberRemoval, MembershipChanged, NewMember};
use chatsphere_core::{Access, Error, EventKind, Forbidden, NotFound, RoomId, Seq, Timestamp, UserId};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, first, membership, new_user, page_of, unique};

on_every_database!(
    joining_and_leaving_are_events,
    an_unneeded_change_adds_no_event,
    memberships_need_their_room_and_users,
    members_are_listed_in_the_order_they_joined,
);

async fn joining_and_leaving_are_events(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    assert_eq!(world.add(room.id, world.bob.id).await, MembershipChanged::At(Seq::new(2)));
    assert_eq!(world.node.store.room(room.id, Access::Member(world.bob.id)).await.unwrap().member_count, 2);
    assert_eq!(world.remove(room.id, world.bob.id).await, MembershipChanged::At(Seq::new(3)));
    let events = all_events(&world.node, room.id).await;
    assert!(
        matches!(&events[1].kind, EventKind::MemberJoined { user, by } if (user.id, by.id) == (world.bob.id, world.ada.id))
    );
    assert!(matches!(&events[2].kind, EventKind::MemberLeft { user, by } if (user.id, by.id) == (world.bob.id, world.ada.id)));
    let told: Vec<_> = world.node.sink.events().iter().map(|event| (**event).clone()).collect();
    assert_eq!(told, events);
    let room = world.node.store.room(room.id, Access::Any).await.unwrap();
    assert_eq!((room.member_count, room.seq, room.message_count), (1, Seq::new(3), 0));
}

async fn an_unneeded_change_adds_no_event(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    assert!(matches!(world.add(room.id, world.ada.id).await, MembershipChanged::NotNeeded(_)));
    assert!(matches!(world.remove(room.id, world.bob.id).await, MembershipChanged::NotNeeded(_)));
    assert!(matches!(world.remove(room.id, UserId::new(Timestamp::from_millis(1))).await, MembershipChanged::NotNeeded(_)));
    assert_eq!(all_events(&world.node, room.id).await.len(), 1);
}

async fn memberships_need_their_room_and_users(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let (ada, bob) = (world.ada.id, world.bob.id);
    let (nobody, nowhere) = (UserId::new(Timestamp::from_millis(1)), RoomId::new(Timestamp::from_millis(1)));
    assert_eq!(store.submit(NewMember(membership(nowhere, bob, ada))).await, Err(Error::NotFound(NotFound::Room)));
    assert_eq!(store.submit(NewMember(membership(room.id, nobody, ada))).await, Err(Error::NotFound(NotFound::User)));
    assert_eq!(store.submit(NewMember(membership(room.id, bob, nobody))).await, Err(Error::NotFound(NotFound::User)));
    assert_eq!(store.submit(MemberRemoval(membership(nowhere, bob, ada))).await, Err(Error::NotFound(NotFound::Room)));
    assert_eq!(all_events(&world.node, room.id).await.len(), 1);
}

async fn members_are_listed_in_the_order_they_joined(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;
    let mut joined = vec![world.ada.id];
    for _ in 0..6 {
        let user = store.submit(new_user(&unique("user"))).await.unwrap().value.user.id;
        world.add(room.id, user).await;
        world.post(room.id, "in between").await;
        joined.push(user);
    }
    // A user who returns is last.
    let again = joined.remove(2);
    world.remove(room.id, again).await;
    world.add(room.id, again).await;
    joined.push(again);
    for limit in [1, 2, 3, 6, 7, 8] {
        for access in [Access::Any, Access::Member(again)] {
            let listed = all_pages(limit, |page| page_of(store.members(room.id, access, page))).await;
            assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), joined);
        }
    }
    let denied = store.members(room.id, Access::Member(world.bob.id), first(9)).await;
    assert_eq!(denied, Err(Forbidden::NotAMember.into()));
}
