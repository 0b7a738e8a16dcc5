//! Tests of tokens, of those that they minted, and of the control log.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{CONTROL_KEPT, UserChange};
use chatsphere_core::{
    Actor, CommitSink, Committed, ControlChange, ControlPosition, Email, Error, Forbidden, NotFound, Permissions, Role, RoomId,
    Timestamp, TokenId, TokenRefusal, TokenType, Unavailable, UserId,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_pages, name, new_room, new_token, new_user, now, revocation, unique};

on_every_database!(
    a_token_is_kept_as_it_was_given,
    a_token_needs_its_user_and_a_living_parent,
    revoking_a_token_revokes_all_that_it_minted,
    revoking_again_changes_nothing,
    a_parent_dies_with_those_it_is_minting,
    positions_rise_in_commit_order_across_nodes,
    tokens_are_listed_newest_first,
    a_client_token_protects_its_user_while_it_is_valid,
    the_control_log_forgets_what_is_old,
    a_store_without_a_writer_is_not_ready,
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
        let done = store.submit(new.clone()).await.unwrap();
        assert_eq!((&done.value.token, &done.value.user), (&new.token, &world.ada));
        assert_eq!(store.token(new.token.id).await, Ok(Some(done.value)));
    }
    assert_eq!(store.token(TokenId::new(Timestamp::from_millis(1))).await, Ok(None));
}

async fn a_client_token_protects_its_user_while_it_is_valid(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let mut admin = new_user(&unique("admin"));
    (admin.role, admin.token.expires_at) = (Role::Admin, admin.token.expires_at.after(Duration::from_secs(3600)));
    let actor = Actor::Token(store.submit(admin).await.unwrap().value.token.id);
    let disables = async |at| {
        let change = |disabled, actor| {
            let disabled = Some(disabled);
            UserChange { user_id: world.ada.id, username: None, role: None, disabled, actor, at }
        };
        let outcome = store.submit(change(true, actor)).await;
        store.submit(change(false, Actor::Operator)).await.unwrap();
        outcome.map(|user| user.disabled)
    };
    let shielded = Err(Forbidden::BehindClientToken.into());
    store.submit(new_token(world.ada.id, None)).await.unwrap();
    assert_eq!(disables(now()).await, Ok(true), "a USER token is no shield");
    let mut new = new_token(world.ada.id, None);
    new.token.token_type = TokenType::Client;
    store.submit(new.clone()).await.unwrap();
    let end = new.token.expires_at;
    assert_eq!(disables(now()).await, shielded);
    assert_eq!(disables(Timestamp::from_millis(end.as_millis() - 1)).await, shielded);
    assert_eq!(disables(end).await, Ok(true));
    store.submit(revocation(new.token.id, now())).await.unwrap();
    assert_eq!(disables(now()).await, Ok(true));
}

async fn a_token_needs_its_user_and_a_living_parent(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let nobody = new_token(UserId::new(Timestamp::from_millis(1)), None);
    assert_eq!(store.submit(nobody).await, Err(Error::NotFound(NotFound::User)));
    let unknown = new_token(world.ada.id, Some(TokenId::new(Timestamp::from_millis(1))));
    assert_eq!(store.submit(unknown).await, Err(TokenRefusal::Invalid.into()));
    let parent = store.submit(new_token(world.ada.id, None)).await.unwrap().value.token.id;
    let child = new_token(world.ada.id, Some(parent));
    assert_eq!(store.submit(child.clone()).await.unwrap().value.token.parent, Some(parent));
    assert_eq!(store.token(child.token.id).await.unwrap().unwrap().token, child.token);
    store.submit(revocation(parent, now())).await.unwrap();
    let orphan = new_token(world.ada.id, Some(parent));
    assert_eq!(store.submit(orphan.clone()).await, Err(TokenRefusal::Revoked.into()));
    assert_eq!(store.token(orphan.token.id).await, Ok(None));
}

async fn revoking_a_token_revokes_all_that_it_minted(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let mint = async |parent| store.submit(new_token(world.ada.id, parent)).await.unwrap().value.token.id;
    let root = mint(None).await;
    let (left, right) = (mint(Some(root)).await, mint(Some(root)).await);
    let below_left = mint(Some(left)).await;
    let (other, below_other) = (mint(None).await, mint(None).await);
    // One branch was revoked before, and stays as it was.
    let early = now();
    store.submit(revocation(right, early)).await.unwrap();
    let before = store.control_head().await.unwrap();
    let at = now();
    store.submit(revocation(root, at)).await.unwrap();
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
    assert_eq!(store.control_after(before, 2).await.unwrap(), logged[..2]);
    assert_eq!(store.control_after(logged[1].position, 10).await.unwrap(), logged[2..]);
    assert_eq!(store.control_after(ControlPosition(u64::MAX), 10).await.unwrap(), []);
}

async fn revoking_again_changes_nothing(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let token = store.submit(new_token(world.ada.id, None)).await.unwrap().value.token.id;
    let at = now();
    store.submit(revocation(token, at)).await.unwrap();
    store.submit(revocation(token, now())).await.unwrap();
    assert_eq!(store.token(token).await.unwrap().unwrap().token.revoked_at, Some(at));
    assert_eq!(store.control_head().await, Ok(ControlPosition(1)));
    let unknown = TokenId::new(Timestamp::from_millis(1));
    assert_eq!(store.submit(revocation(unknown, now())).await, Err(Error::NotFound(NotFound::Token)));
}

async fn a_parent_dies_with_those_it_is_minting(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    for _ in 0..10 {
        // Tokens of three generations: the youngest mints through one node while the eldest is revoked on the other.
        let eldest = one.node.store.submit(new_token(one.ada.id, None)).await.unwrap().value.token.id;
        let middle = one.node.store.submit(new_token(one.ada.id, Some(eldest))).await.unwrap().value.token.id;
        let mut minting = tokio::task::JoinSet::new();
        for parent in [eldest, middle, middle, middle] {
            let (store, ada) = (Arc::clone(&one.node.store), one.ada.id);
            minting.spawn(async move {
                let child = store.submit(new_token(ada, Some(parent))).await.ok()?.value.token.id;
                Some(store.submit(new_token(ada, Some(child))).await.ok()?.value.token.id)
            });
        }
        two.store.submit(revocation(eldest, now())).await.unwrap();
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
            let token = store.submit(new_token(user, None)).await.unwrap().value.token.id;
            store.submit(revocation(token, now())).await.unwrap();
        });
    }
    // A reader of new entries never misses a position that becomes visible later.
    let mut seen = ControlPosition(0);
    while seen.0 < 40 {
        for entry in two.store.control_after(seen, 7).await.unwrap() {
            assert_eq!(entry.position.0, seen.0 + 1);
            seen = entry.position;
        }
    }
    revoking.join_all().await;
    assert_eq!(one.node.store.control_head().await, Ok(ControlPosition(40)));
}

async fn tokens_are_listed_newest_first(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let user = store.submit(new_user("ada")).await.unwrap().value;
    let mut made = vec![user.clone()];
    for _ in 0..6 {
        made.insert(0, store.submit(new_token(user.user.id, Some(user.token.id))).await.unwrap().value);
    }
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(all_pages(limit, |page| store.tokens(page)).await, made, "{limit}");
    }
}

async fn the_control_log_forgets_what_is_old(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let rename = |at| UserChange {
        user_id: world.ada.id,
        username: Some(name(&unique("ada"))),
        role: None,
        disabled: None,
        actor: Actor::Operator,
        at,
    };
    let mut changes = tokio::task::JoinSet::new();
    for _ in 0..1_700 {
        let (store, change) = (Arc::clone(store), rename(now()));
        changes.spawn(async move { store.submit(change).await.map(drop) });
    }
    assert!(changes.join_all().await.iter().all(Result::is_ok));
    let positions = async || {
        let entries = store.control_after(ControlPosition(0), 10_000).await.unwrap();
        (entries[0].position.0, entries.last().unwrap().position.0, entries.len())
    };
    assert_eq!(positions().await, (1, 1_700, 1_700));

    // Some hundred are removed at a time, and never the newest thousand.
    let tomorrow = now().after(CONTROL_KEPT);
    for expected in [(501, 1_701, 1_201), (703, 1_702, 1_000), (704, 1_703, 1_000)] {
        store.submit(rename(tomorrow)).await.unwrap();
        assert_eq!(positions().await, expected);
    }
    assert_eq!(store.control_head().await, Ok(ControlPosition(1_703)));
    let newest = store.control_after(ControlPosition(1_702), 10).await.unwrap();
    assert_eq!(newest.iter().map(|entry| entry.change).collect::<Vec<_>>(), [ControlChange::User(world.ada.id)]);
}

struct Panics;

impl CommitSink for Panics {
    fn committed(&self, _: Committed) {
        panic!("a sink that a test made to panic");
    }
}

async fn a_store_without_a_writer_is_not_ready(fixture: Arc<Fixture>) {
    let world = World::on(fixture.node_with(|options| options.sink = Arc::new(Panics)).await.unwrap()).await;
    let store = &world.node.store;
    assert_eq!(store.ping().await, Ok(()));
    assert_eq!(store.submit(new_room(world.ada.id)).await, Err(Unavailable::OutcomeUnknown.into()));
    let unwell = async {
        while store.ping().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), unwell).await.unwrap();
    assert_eq!(store.ping().await, Err(Unavailable::StoreAway.into()));
    assert_eq!(store.submit(new_room(world.ada.id)).await, Err(Unavailable::StoreAway.into()));
}
