//! Tests of data that another release has stored: an earlier one, or a newer one before a downgrade.

use std::sync::Arc;

use chatsphere_core::store::{MembershipChanged, NewMember};
use chatsphere_core::{Access, Conflict, EventKind, Role, Seq, Unavailable};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, idempotency, membership, new_message, new_room, new_token};

on_every_database!(
    an_event_of_an_unknown_kind_keeps_its_place,
    outcomes_of_earlier_releases_are_answered,
    outcomes_of_newer_releases_are_reported_as_such,
);

async fn an_event_of_an_unknown_kind_keeps_its_place(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    let message = world.post(room.id, "before").await;
    let pinned = "INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at, message_pk, body)
        SELECT r.pk, r.seq + 1, 'poll_opened', r.owner_pk, r.owner_pk, 1800000000000, m.pk, '{\"x\":1.10}'
        FROM rooms r JOIN messages m ON m.room_pk = r.pk;
        INSERT INTO room_events (room_pk, seq, kind, user_pk, by_pk, at)
        SELECT r.pk, r.seq + 2, 'room_updated', r.owner_pk, r.owner_pk, 1800000000000 FROM rooms r;
        UPDATE rooms SET seq = seq + 2;";
    fixture.execute(pinned).await;
    assert_eq!(world.post(room.id, "after").await.seq, Seq::new(5));

    let events = all_events(&world.node, room.id).await;
    assert_eq!(
        events.iter().map(|event| event.kind.name()).collect::<Vec<_>>(),
        ["member_joined", "new_message", "poll_opened", "room_updated", "new_message"]
    );
    let EventKind::Unknown { row, .. } = &events[2].kind else { panic!("{:?}", events[2]) };
    assert_eq!((row.user.id, row.by.id, row.body.as_deref()), (world.ada.id, world.ada.id, Some("{\"x\":1.10}")));
    assert_eq!(row.message.as_ref().map(|named| (named.id, named.seq)), Some((message.id, message.seq)));
    let EventKind::Unknown { row, .. } = &events[3].kind else { panic!("{:?}", events[3]) };
    assert_eq!((&row.message, &row.body), (&None, &None));
    let newest = world.node.store.newest(room.id, Access::Any, 10, 10).await.unwrap();
    assert_eq!((newest.messages.len(), newest.others.len(), newest.from), (2, 3, Seq::new(1)));
    assert_eq!(*newest.others[1], events[2]);
}

/// Stores an outcome with the key `key`, for a body of `1`.
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

/// The outcomes are byte for byte those of releases before outcomes had formats of their own.
async fn outcomes_of_earlier_releases_are_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await, &world.node.store);
    let message = world.post(room.id, "hello").await;
    let (ada, made) = (world.ada.id, "2026-11-22T09:56:10.473Z");

    store_outcome(&fixture, 1, &format!(r#"{{"Message":{{"room":"{}","seq":2}}}}"#, room.id)).await;
    let mut new = new_message(room.id, ada, "hello");
    new.idempotency = Some(idempotency(1, 1));
    let done = store.submit(new).await.unwrap();
    assert_eq!((done.value, done.replayed), (message, true));

    let as_made = format!(
        r#"{{"Room":{{"id":"{}","name":"as it was","owner":"{ada}","created_at":"{made}","updated_at":"{made}","seq":1,
            "message_count":0,"member_count":1}}}}"#,
        room.id
    );
    store_outcome(&fixture, 2, &as_made).await;
    let mut new = new_room(ada);
    new.idempotency = Some(idempotency(2, 1));
    let done = store.submit(new).await.unwrap();
    assert!(done.replayed);
    assert_eq!((done.value.id, done.value.name.as_str(), done.value.seq), (room.id, "as it was", Seq::new(1)));

    let token = new_token(ada, None);
    let id = token.token.id;
    let minted = format!(
        r#"{{"Token":{{"token":{{"id":"{id}","token_type":"USER","user_id":"{ada}","permissions":{{"read":true,
            "write":true,"delete":false,"rooms":["{}"]}},"parent":null,"email":null,"created_at":"{made}",
            "expires_at":"{made}","revoked_at":null}},"user":{{"id":"{ada}","username":"once","role":"MODERATOR",
            "disabled":false,"external_id":"42","created_at":"{made}","updated_at":"{made}"}}}}}}"#,
        room.id
    );
    store_outcome(&fixture, 3, &minted).await;
    let mut new = new_token(ada, None);
    new.idempotency = Some(idempotency(3, 1));
    let done = store.submit(new).await.unwrap();
    assert!(done.replayed);
    assert_eq!((done.value.token.id, done.value.token.permissions.rooms), (id, Some(vec![room.id])));
    assert_eq!((done.value.user.username.as_str(), done.value.user.role), ("once", Role::Moderator));

    for (key, outcome, changed) in [
        (4, r#"{"Membership":{"At":7}}"#, MembershipChanged::At(Seq::new(7))),
        (5, r#"{"Membership":"NotNeeded"}"#, MembershipChanged::NotNeeded(Seq::ZERO)),
    ] {
        store_outcome(&fixture, key, outcome).await;
        let mut change = membership(room.id, world.bob.id, ada);
        change.idempotency = Some(idempotency(key, 1));
        let done = store.submit(NewMember(change)).await.unwrap();
        assert_eq!((done.value, done.replayed), (changed, true));
    }
}

async fn outcomes_of_newer_releases_are_reported_as_such(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let (room, store) = (world.room().await, &world.node.store);
    for (key, outcome) in [(1, r#"{"Message2":{"id":"x"}}"#), (2, r#"{"Room":{"id":1}}"#), (3, "[]")] {
        store_outcome(&fixture, key, outcome).await;
        let mut new = new_message(room.id, world.ada.id, "hello");
        new.idempotency = Some(idempotency(key, 1));
        assert_eq!(store.submit(new.clone()).await, Err(Unavailable::NewerVersion.into()));
        new.idempotency = Some(idempotency(key, 2));
        assert_eq!(store.submit(new).await, Err(Conflict::IdempotencyKeyReused.into()));
        let mut new = new_room(world.ada.id);
        new.idempotency = Some(idempotency(key, 1));
        assert_eq!(store.submit(new).await, Err(Unavailable::NewerVersion.into()));
    }
    // Nothing was stored, and other writes work.
    assert_eq!(all_events(&world.node, room.id).await.len(), 1);
}
