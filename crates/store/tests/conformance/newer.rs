//! What another release has stored: an earlier one, or a newer one from which this one was gone back to.

use std::sync::Arc;

use chatsphere_core::store::MembershipChanged;
use chatsphere_core::{Conflict, Outage, Role, Seq};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, idempotency, membership, new_message, new_room, new_token};

on_every_database!(
    outcomes_of_earlier_releases_are_answered,
    outcomes_of_newer_releases_are_told_as_such,
);

/// Stores an outcome under the key `key` for a body of `1`.
async fn store_outcome(fixture: &Fixture, key: u8, outcome: &str) {
    let bytes = |byte: u8| match fixture.url.is_sqlite() {
        true => format!("x'{}'", format!("{byte:02x}").repeat(32)),
        false => format!("'\\x{}'::bytea", format!("{byte:02x}").repeat(32)),
    };
    let sql = format!(
        "INSERT INTO idempotency (key, body, outcome, at) VALUES ({}, {}, '{outcome}', 1800000000000)",
        bytes(key),
        bytes(1)
    );
    fixture.execute(&sql).await;
}

/// Byte by byte as the program wrote them before outcomes had shapes of their own.
async fn outcomes_of_earlier_releases_are_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await, &world.node.store);
    let message = world.post(room.id, "hello").await;
    let (ada, made) = (world.ada.id, "2026-11-22T09:56:10.473Z");

    store_outcome(&fixture, 1, &format!(r#"{{"Message":{{"room":"{}","seq":2}}}}"#, room.id)).await;
    let mut new = new_message(room.id, ada, "hello");
    new.idempotency = Some(idempotency(1, 1));
    let done = store.append(new).await.unwrap();
    assert_eq!((done.value, done.replayed), (message, true));

    let as_made = format!(
        r#"{{"Room":{{"id":"{}","name":"as it was","owner":"{ada}","created_at":"{made}","updated_at":"{made}","seq":1,"message_count":0,"member_count":1}}}}"#,
        room.id
    );
    store_outcome(&fixture, 2, &as_made).await;
    let mut new = new_room(ada);
    new.idempotency = Some(idempotency(2, 1));
    let done = store.create_room(new).await.unwrap();
    assert!(done.replayed);
    assert_eq!((done.value.id, done.value.name.as_str(), done.value.seq), (room.id, "as it was", Seq::new(1)));

    let token = new_token(ada, None);
    let id = token.token.id;
    let minted = format!(
        r#"{{"Token":{{"token":{{"id":"{id}","token_type":"USER","user_id":"{ada}","permissions":{{"read":true,"write":true,"delete":false,"rooms":["{}"]}},"parent":null,"email":null,"created_at":"{made}","expires_at":"{made}","revoked_at":null}},"user":{{"id":"{ada}","username":"once","role":"MODERATOR","disabled":false,"external_id":"42","created_at":"{made}","updated_at":"{made}"}}}}}}"#,
        room.id
    );
    store_outcome(&fixture, 3, &minted).await;
    let mut new = new_token(ada, None);
    new.idempotency = Some(idempotency(3, 1));
    let done = store.create_token(new).await.unwrap();
    assert!(done.replayed);
    assert_eq!((done.value.token.id, done.value.token.permissions.rooms), (id, Some(vec![room.id])));
    assert_eq!((done.value.user.username.as_str(), done.value.user.role), ("once", Role::Moderator));

    for (key, outcome, changed) in [
        (4, r#"{"Membership":{"At":7}}"#, MembershipChanged::At(Seq::new(7))),
        (5, r#"{"Membership":"NotNeeded"}"#, MembershipChanged::NotNeeded),
    ] {
        store_outcome(&fixture, key, outcome).await;
        let mut change = membership(room.id, world.bob.id, ada);
        change.idempotency = Some(idempotency(key, 1));
        let done = store.add_member(change).await.unwrap();
        assert_eq!((done.value, done.replayed), (changed, true));
    }
}

async fn outcomes_of_newer_releases_are_told_as_such(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await, &world.node.store);
    for (key, outcome) in [(1, r#"{"Message2":{"id":"x"}}"#), (2, r#"{"Room":{"id":1}}"#), (3, "[]")] {
        store_outcome(&fixture, key, outcome).await;
        let mut new = new_message(room.id, world.ada.id, "hello");
        new.idempotency = Some(idempotency(key, 1));
        assert_eq!(store.append(new.clone()).await, Err(Outage::NewerVersion.into()));
        new.idempotency = Some(idempotency(key, 2));
        assert_eq!(store.append(new).await, Err(Conflict::IdempotencyKeyReused.into()));
        let mut new = new_room(world.ada.id);
        new.idempotency = Some(idempotency(key, 1));
        assert_eq!(store.create_room(new).await, Err(Outage::NewerVersion.into()));
    }
    // Nothing was stored, and nothing else was held up.
    assert_eq!(all_events(&world.node, room.id).await.len(), 1);
}
