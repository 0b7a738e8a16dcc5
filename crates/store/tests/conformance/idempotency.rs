//! Tests of `Idempotency-Key`: the same request again gets the same answer and stores nothing.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{IDEMPOTENCY_KEPT, MemberRemoval, MembershipChanged, NewMember, NewMessage};
use chatsphere_core::{Access, Conflict, Error, Idempotency, Seq};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{
    World, all_events, client_id, first, idempotency, membership, new_message, new_room, new_token, new_user, unique,
};

on_every_database!(
    a_message_is_answered_again,
    equal_messages_in_one_batch_are_stored_once,
    another_body_is_a_conflict,
    a_hash_from_before_there_was_a_key_is_recognised,
    a_key_and_a_client_message_id_together,
    rejections_are_not_stored,
    a_key_expires_after_a_day,
    old_keys_are_removed,
    users_rooms_members_and_tokens_are_answered_again,
    equal_writes_at_once_are_stored_once,
);

async fn a_message_is_answered_again(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "hello");
    new.idempotency = Some(idempotency(1, 1));
    let once = world.node.store.submit(new.clone()).await.unwrap();
    // A retry has another id and time.
    let mut retry = new_message(room.id, world.ada.id, "hello");
    retry.idempotency = new.idempotency;
    let again = world.node.store.submit(retry).await.unwrap();
    assert_eq!((once.replayed, again.replayed), (false, true));
    assert_eq!(once.value, again.value);
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
}

async fn a_hash_from_before_there_was_a_key_is_recognised(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let send = |idempotency| NewMessage { idempotency: Some(idempotency), ..new_message(room.id, world.ada.id, "hello") };
    let now = idempotency(1, 1);
    let before = Idempotency { body: now.unkeyed_body, ..now };
    let once = world.node.store.submit(send(before)).await.unwrap();
    let again = world.node.store.submit(send(now)).await.unwrap();
    assert_eq!((again.value, again.replayed), (once.value, true));
    let refused = world.node.store.submit(send(idempotency(1, 2))).await.err();
    assert_eq!(refused, Some(Conflict::IdempotencyKeyReused.into()));
    // What is stored now has no hash that everybody can compute.
    let new = idempotency(2, 3);
    world.node.store.submit(send(new)).await.unwrap();
    let hex = |bytes: [u8; 32]| bytes.map(|byte| format!("{byte:02X}")).concat();
    for (body, count) in [(new.body, 1), (new.unkeyed_body, 0)] {
        let column = if fixture.url.sqlite_path().is_some() { "hex(body)" } else { "upper(encode(body, 'hex'))" };
        fixture.expect(&format!("SELECT count(*) FROM idempotency WHERE {column} = '{}'", hex(body)), count).await;
    }
}

async fn equal_messages_in_one_batch_are_stored_once(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let [one, two, other] = world
        .in_one_batch(async || {
            [1, 1, 2].map(|body| {
                let mut new = new_message(room.id, world.ada.id, "hello");
                new.idempotency = Some(idempotency(1, body));
                world.node.store.submit(new)
            })
        })
        .await;
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one.replayed, two.replayed), (false, true));
    assert_eq!(one.value, two.value);
    assert_eq!(other.await, Err(Conflict::IdempotencyKeyReused.into()));
    assert_eq!(all_events(&world.node, room.id).await.len(), 2);
}

async fn another_body_is_a_conflict(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "hello");
    new.idempotency = Some(idempotency(1, 1));
    world.node.store.submit(new.clone()).await.unwrap();
    new.idempotency = Some(idempotency(1, 2));
    assert_eq!(world.node.store.submit(new).await, Err(Conflict::IdempotencyKeyReused.into()));
    // Another kind of request is a conflict too, although front doors never send one.
    let mut other = new_room(world.ada.id);
    other.idempotency = Some(idempotency(1, 1));
    assert_eq!(world.node.store.submit(other).await, Err(Conflict::IdempotencyKeyReused.into()));
}

async fn a_key_and_a_client_message_id_together(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "hello");
    new.client_message_id = Some(client_id("c"));
    let first = world.node.store.submit(new.clone()).await.unwrap();
    // The first attempt came over the WebSocket, the second over REST: the key then stands for the message of the first.
    new.idempotency = Some(idempotency(1, 1));
    let second = world.node.store.submit(new.clone()).await.unwrap();
    new.client_message_id = None;
    let third = world.node.store.submit(new).await.unwrap();
    assert!(second.replayed && third.replayed);
    assert_eq!((&second.value, &third.value), (&first.value, &first.value));
}

async fn rejections_are_not_stored(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.bob.id, "hello");
    new.idempotency = Some(idempotency(1, 1));
    assert!(world.node.store.submit(new.clone()).await.is_err());
    world.add(room.id, world.bob.id).await;
    assert!(!world.node.store.submit(new).await.unwrap().replayed);
}

async fn a_key_expires_after_a_day(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let mut new = new_message(room.id, world.ada.id, "hello");
    new.idempotency = Some(idempotency(1, 1));
    let start = new.at;
    let first = world.node.store.submit(new.clone()).await.unwrap().value;
    new.at = start.after(IDEMPOTENCY_KEPT);
    assert!(world.node.store.submit(new.clone()).await.unwrap().replayed);
    new.at = start.after(IDEMPOTENCY_KEPT + Duration::from_millis(1));
    new.id = chatsphere_core::MessageId::new(new.at);
    new.idempotency = Some(idempotency(1, 2));
    let second = world.node.store.submit(new.clone()).await.unwrap();
    assert!(!second.replayed);
    assert_eq!(second.value.seq, first.seq.next());
    assert!(world.node.store.submit(new).await.unwrap().replayed);
}

async fn old_keys_are_removed(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let say = |key: u8, later: Duration| {
        let mut new = new_message(room.id, world.ada.id, "hello");
        new.idempotency = Some(idempotency(key, 1));
        new.at = new.at.after(later);
        world.node.store.submit(new)
    };
    for key in 0..10 {
        say(key, Duration::ZERO).await.unwrap();
    }
    // Each new record removes up to two old ones.
    for key in 10..15 {
        say(key, IDEMPOTENCY_KEPT * 2).await.unwrap();
    }
    fixture.execute("CREATE TABLE kept AS SELECT count(*) AS rows FROM idempotency").await;
    let expect_five = match fixture.url.is_sqlite() {
        true => "CREATE TABLE one (x INTEGER CHECK (x = 5)); INSERT INTO one SELECT rows FROM kept;",
        false => "CREATE TABLE one (x bigint CHECK (x = 5)); INSERT INTO one SELECT rows FROM kept;",
    };
    fixture.execute(expect_five).await;
}

async fn users_rooms_members_and_tokens_are_answered_again(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let store = &world.node.store;

    let mut user = new_user(&unique("cleo"));
    user.idempotency = Some(idempotency(1, 1));
    let first = store.submit(user.clone()).await.unwrap();
    let mut retry = new_user(user.username.as_str());
    retry.idempotency = user.idempotency;
    let again = store.submit(retry).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.value, again.value);

    let mut new = new_room(world.ada.id);
    new.idempotency = Some(idempotency(2, 1));
    let first = store.submit(new.clone()).await.unwrap();
    world.post(new.id, "meanwhile").await;
    let mut retry = new_room(world.ada.id);
    retry.idempotency = new.idempotency;
    let again = store.submit(retry).await.unwrap();
    assert!(again.replayed);
    assert_eq!(first.value, again.value);

    let mut change = membership(room.id, world.bob.id, world.ada.id);
    change.idempotency = Some(idempotency(3, 1));
    let first = store.submit(NewMember(change.clone())).await.unwrap();
    assert_eq!(first.value, MembershipChanged::At(Seq::new(2)));
    world.remove(room.id, world.bob.id).await;
    let again = store.submit(NewMember(change.clone())).await.unwrap();
    assert_eq!((again.value, again.replayed), (first.value, true));
    assert_eq!(store.members(room.id, Access::Any, self::first(9)).await.unwrap().page.items.len(), 1);
    change.idempotency = Some(idempotency(4, 1));
    assert!(matches!(store.submit(MemberRemoval(change.clone())).await.unwrap().value, MembershipChanged::NotNeeded(_)));
    world.add(room.id, world.bob.id).await;
    let again = store.submit(MemberRemoval(change)).await.unwrap();
    assert!(matches!((again.value, again.replayed), (MembershipChanged::NotNeeded(_), true)));

    let mut token = new_token(world.ada.id, None);
    token.idempotency = Some(idempotency(5, 1));
    let first = store.submit(token.clone()).await.unwrap();
    let mut retry = new_token(world.ada.id, None);
    retry.idempotency = token.idempotency;
    let again = store.submit(retry.clone()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(first.value, again.value);
    assert_eq!(store.token(retry.token.id).await, Ok(None));
    retry.idempotency = Some(idempotency(5, 2));
    assert_eq!(store.submit(retry).await, Err(Error::Conflict(Conflict::IdempotencyKeyReused)));
}

async fn equal_writes_at_once_are_stored_once(fixture: Arc<Fixture>) {
    // Through two nodes, so that on PostgreSQL the same key is new to two transactions at the same time.
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    for round in 0..10_u8 {
        let mut attempts = tokio::task::JoinSet::new();
        for attempt in 0..8 {
            let store = if attempt % 2 == 0 { Arc::clone(&one.node.store) } else { Arc::clone(&two.store) };
            let mut room = new_room(one.ada.id);
            room.idempotency = Some(idempotency(round, 1));
            attempts.spawn(async move { store.submit(room).await.unwrap() });
        }
        let answers = attempts.join_all().await;
        assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
        assert!(answers.iter().all(|answer| answer.value == answers[0].value));
    }
    let rooms = one.node.store.rooms(Default::default(), first(200)).await.unwrap();
    assert_eq!(rooms.items.len(), 10);
}
