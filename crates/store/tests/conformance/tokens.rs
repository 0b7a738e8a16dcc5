//! Tokens, their families, and the control log.

use std::sync::Arc;

use chatsphere_core::{
    Absent, ControlChange, ControlPosition, Email, Error, Permissions, RoomId, Timestamp, TokenId, TokenRefusal, TokenType,
    UserId,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_pages, new_token, new_user, now};

on_every_database!(
    a_token_is_kept_as_it_was_given,
    a_token_needs_its_user_and_a_living_parent,
    revoking_takes_the_whole_family,
    revoking_again_changes_nothing,
    a_parent_dies_with_those_it_is_minting,
    positions_rise_in_commit_order_across_nodes,
    tokens_are_listed_newest_first,
);

async fn a_token_is_kept_as_it_was_given(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let room = RoomId::new(now());
    for (permissions, email) in [
        (Permissions::ALL, None),
        (Permissions { read: true, write: false, delete: false, rooms: Some(vec![room]) }, None),
        (Permissions { read: false, write: false, delete: false, rooms: Some(vec![]) }, Some("ops@example.com")),
    ] {
        let mut new = new_token(world.ada.id, None);
        new.token.permissions = permissions;
        new.token.email = email.map(|email| Email::parse(email.to_owned()).unwrap());
        if new.token.email.is_some() {
            new.token.token_type = TokenType::Client;
        }
        let done = store.create_token(new.clone()).await.unwrap();
        assert_eq!((&done.value.token, &done.value.user), (&new.token, &world.ada));
        assert_eq!(store.token(new.token.id).await, Ok(Some(done.value)));
    }
    assert_eq!(store.token(TokenId::new(Timestamp::from_millis(1))).await, Ok(None));
}

async fn a_token_needs_its_user_and_a_living_parent(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let nobody = new_token(UserId::new(Timestamp::from_millis(1)), None);
    assert_eq!(store.create_token(nobody).await, Err(Error::Absent(Absent::User)));
    let unknown = new_token(world.ada.id, Some(TokenId::new(Timestamp::from_millis(1))));
    assert_eq!(store.create_token(unknown).await, Err(TokenRefusal::Invalid.into()));
    let parent = store.create_token(new_token(world.ada.id, None)).await.unwrap().value.token.id;
    let child = new_token(world.ada.id, Some(parent));
    assert_eq!(store.create_token(child.clone()).await.unwrap().value.token.parent, Some(parent));
    assert_eq!(store.token(child.token.id).await.unwrap().unwrap().token, child.token);
    store.revoke_token(parent, now()).await.unwrap();
    let orphan = new_token(world.ada.id, Some(parent));
    assert_eq!(store.create_token(orphan.clone()).await, Err(TokenRefusal::Revoked.into()));
    assert_eq!(store.token(orphan.token.id).await, Ok(None));
}

async fn revoking_takes_the_whole_family(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let mint = async |parent| store.create_token(new_token(world.ada.id, parent)).await.unwrap().value.token.id;
    let root = mint(None).await;
    let (left, right) = (mint(Some(root)).await, mint(Some(root)).await);
    let below_left = mint(Some(left)).await;
    let (other, below_other) = (mint(None).await, mint(None).await);
    // One branch was revoked before: it stays as it was.
    let early = now();
    store.revoke_token(right, early).await.unwrap();
    let before = store.control_head().await.unwrap();
    let at = now();
    store.revoke_token(root, at).await.unwrap();
    for (token, revoked) in
        [(root, Some(at)), (left, Some(at)), (below_left, Some(at)), (right, Some(early)), (other, None), (below_other, None)]
    {
        assert_eq!(store.token(token).await.unwrap().unwrap().token.revoked_at, revoked);
    }
    let logged = store.control_after(before, 10).await.unwrap();
    let changes: Vec<_> = logged.iter().map(|entry| entry.change).collect();
    assert_eq!(changes, [root, left, below_left].map(ControlChange::Token));
    let positions: Vec<_> = logged.iter().map(|entry| entry.position.0).collect();
    assert_eq!(positions, [before.0 + 1, before.0 + 2, before.0 + 3]);
    assert_eq!(world.node.sink.control()[1..], logged);
    assert_eq!(store.control_after(before, 2).await.unwrap(), logged[..2]);
    assert_eq!(store.control_after(logged[1].position, 10).await.unwrap(), logged[2..]);
    assert_eq!(store.control_after(ControlPosition(u64::MAX), 10).await.unwrap(), []);
}

async fn revoking_again_changes_nothing(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let token = store.create_token(new_token(world.ada.id, None)).await.unwrap().value.token.id;
    let at = now();
    store.revoke_token(token, at).await.unwrap();
    store.revoke_token(token, now()).await.unwrap();
    assert_eq!(store.token(token).await.unwrap().unwrap().token.revoked_at, Some(at));
    assert_eq!(store.control_head().await, Ok(ControlPosition(1)));
    let unknown = TokenId::new(Timestamp::from_millis(1));
    assert_eq!(store.revoke_token(unknown, now()).await, Err(Error::Absent(Absent::Token)));
}

async fn a_parent_dies_with_those_it_is_minting(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    for _ in 0..10 {
        // A family of three generations, the youngest of which mints through one node while the eldest is revoked on the other.
        let eldest = one.node.store.create_token(new_token(one.ada.id, None)).await.unwrap().value.token.id;
        let middle = one.node.store.create_token(new_token(one.ada.id, Some(eldest))).await.unwrap().value.token.id;
        let mut minting = tokio::task::JoinSet::new();
        for parent in [eldest, middle, middle, middle] {
            let (store, ada) = (Arc::clone(&one.node.store), one.ada.id);
            minting.spawn(async move {
                let child = store.create_token(new_token(ada, Some(parent))).await.ok()?.value.token.id;
                Some(store.create_token(new_token(ada, Some(child))).await.ok()?.value.token.id)
            });
        }
        two.store.revoke_token(eldest, now()).await.unwrap();
        minting.join_all().await;
        let tokens = all_pages(50, |page| one.node.store.tokens(page)).await;
        let alive = tokens.iter().filter(|row| row.token.parent.is_some() && row.token.revoked_at.is_none()).count();
        assert_eq!(alive, 0);
    }
}

async fn positions_rise_in_commit_order_across_nodes(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    let mut revoking = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store = if number % 2 == 0 { Arc::clone(&one.node.store) } else { Arc::clone(&two.store) };
        let user = one.ada.id;
        revoking.spawn(async move {
            let token = store.create_token(new_token(user, None)).await.unwrap().value.token.id;
            store.revoke_token(token, now()).await.unwrap();
        });
    }
    // A reader that asks for what is new never misses a position that appears later.
    let mut seen = ControlPosition(0);
    while seen.0 < 40 {
        for entry in two.store.control_after(seen, 7).await.unwrap() {
            assert_eq!(entry.position.0, seen.0 + 1);
            seen = entry.position;
        }
    }
    revoking.join_all().await;
    for node in [&one.node, &two] {
        let told: Vec<_> = node.sink.control().iter().map(|entry| entry.position).collect();
        assert!(told.is_sorted());
    }
    assert_eq!(one.node.sink.control().len() + two.sink.control().len(), 40);
}

async fn tokens_are_listed_newest_first(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let user = store.create_user(new_user("ada")).await.unwrap().value;
    let mut made = vec![user.clone()];
    for _ in 0..6 {
        made.insert(0, store.create_token(new_token(user.user.id, Some(user.token.id))).await.unwrap().value);
    }
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(all_pages(limit, |page| store.tokens(page)).await, made, "{limit}");
    }
}
