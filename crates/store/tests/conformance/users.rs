//! Users and what changes about them.

use std::sync::Arc;

use chatsphere_core::store::{HistoryRange, UserChange};
use chatsphere_core::{
    Absent, Access, Actor, Conflict, ControlChange, ControlPosition, Error, EventKind, Role, Timestamp, UserId,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, name, new_token, new_user, now, unique};

on_every_database!(
    a_user_comes_with_a_token,
    names_are_unique_to_the_byte,
    a_name_is_given_once_even_at_once,
    a_change_is_answered_and_logged,
    a_change_of_nothing_is_not_logged,
    names_in_messages_are_the_present_ones,
    users_are_listed_in_the_order_they_were_made,
);

fn change(user: UserId) -> UserChange {
    UserChange { user_id: user, username: None, role: None, disabled: None, actor: Actor::Operator, at: now() }
}

async fn a_user_comes_with_a_token(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let mut new = new_user("Ada Lovelace");
    new.role = Role::Admin;
    let done = store.create_user(new.clone()).await.unwrap();
    assert!(!done.replayed);
    let user = done.value.user;
    assert_eq!((user.id, &user.username, user.role, user.disabled), (new.id, &new.username, Role::Admin, false));
    assert_eq!((user.created_at, user.updated_at), (new.at, new.at));
    assert_eq!(store.user(new.id).await, Ok(Some(user.clone())));
    assert_eq!(store.user_by_name("Ada Lovelace").await, Ok(Some(user.clone())));
    let token = store.token(new.token.id).await.unwrap().unwrap();
    assert_eq!((token.token, token.user), (new.token, user));
    assert_eq!(store.user(UserId::new(Timestamp::from_millis(1))).await, Ok(None));
    assert_eq!(store.user_by_name("ada lovelace").await, Ok(None));
}

async fn names_are_unique_to_the_byte(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    // Composed and decomposed, upper and lower case, with and without a space at the end.
    for username in ["é", "e\u{301}", "ada", "Ada", "ada ", "ß", "ss", "ﬃ", "ffi", "İ", "i", "ı"] {
        store.create_user(new_user(username)).await.unwrap();
        assert_eq!(store.create_user(new_user(username)).await, Err(Conflict::UsernameTaken.into()), "{username}");
    }
    // A refused user left no token behind.
    assert_eq!(store.tokens(crate::world::first(200)).await.unwrap().items.len(), 12);
}

async fn a_name_is_given_once_even_at_once(fixture: Arc<Fixture>) {
    let (one, two) = (World::new(&fixture).await, fixture.node().await);
    for round in 0..10 {
        let wanted = format!("wanted {round}");
        let mut attempts = tokio::task::JoinSet::new();
        for attempt in 0..8 {
            let store = if attempt % 2 == 0 { Arc::clone(&one.node.store) } else { Arc::clone(&two.store) };
            let wanted = wanted.clone();
            if attempt < 4 {
                attempts.spawn(async move { store.create_user(new_user(&wanted)).await.map(|_| ()) });
            } else {
                let other = store.create_user(new_user(&unique("other"))).await.unwrap().value.user.id;
                let mut change = change(other);
                change.username = Some(name(&wanted));
                attempts.spawn(async move { store.change_user(change).await.map(|_| ()) });
            }
        }
        let answers = attempts.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(()) | Err(Error::Conflict(Conflict::UsernameTaken)))));
    }
}

async fn a_change_is_answered_and_logged(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let before = store.control_head().await.unwrap();
    let mut wish = change(world.ada.id);
    wish.username = Some(name("Countess"));
    wish.role = Some(Role::Moderator);
    wish.disabled = Some(true);
    let after = store.change_user(wish.clone()).await.unwrap();
    assert_eq!((after.username.as_str(), after.role, after.disabled), ("Countess", Role::Moderator, true));
    assert_eq!((after.created_at, after.updated_at), (world.ada.created_at, wish.at));
    assert_eq!(store.user(world.ada.id).await, Ok(Some(after)));
    let logged = store.control_after(before, 10).await.unwrap();
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].position, ControlPosition(before.0 + 1));
    assert_eq!(logged[0].change, ControlChange::User(world.ada.id));
    assert_eq!(store.control_head().await.unwrap(), logged[0].position);

    let mut taken = change(world.ada.id);
    taken.username = Some(world.bob.username.clone());
    taken.role = Some(Role::Admin);
    assert_eq!(store.change_user(taken).await, Err(Conflict::UsernameTaken.into()));
    assert_eq!(store.user(world.ada.id).await.unwrap().unwrap().role, Role::Moderator);
    let nobody = change(UserId::new(Timestamp::from_millis(1)));
    assert_eq!(store.change_user(nobody).await, Err(Error::Absent(Absent::User)));
}

async fn a_change_of_nothing_is_not_logged(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let mut wish = change(world.ada.id);
    wish.username = Some(world.ada.username.clone());
    wish.role = Some(world.ada.role);
    wish.disabled = Some(false);
    assert_eq!(world.node.store.change_user(wish).await, Ok(world.ada.clone()));
    assert_eq!(world.node.store.change_user(change(world.ada.id)).await, Ok(world.ada.clone()));
    assert_eq!(world.node.store.control_head().await, Ok(ControlPosition(0)));
}

async fn names_in_messages_are_the_present_ones(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    world.post(room.id, "as Ada").await;
    let mut wish = change(world.ada.id);
    wish.username = Some(name("Countess"));
    world.node.store.change_user(wish).await.unwrap();
    assert_eq!(world.post(room.id, "as Countess").await.author.username.as_str(), "Countess");
    let page = world.node.store.history(room.id, Access::Any, HistoryRange::Newest, 9).await.unwrap();
    assert!(page.messages.iter().all(|message| message.author.username.as_str() == "Countess"));
    let joined = &all_events(&world.node, room.id).await[0];
    assert!(matches!(&joined.kind, EventKind::MemberJoined { user, .. } if user.username.as_str() == "Countess"));
    let members = world.node.store.members(room.id, Access::Any, crate::world::first(9)).await.unwrap();
    assert_eq!(members.items[0].username.as_str(), "Countess");
    let token = world.node.store.create_token(new_token(world.ada.id, None)).await.unwrap().value;
    assert_eq!(token.user.username.as_str(), "Countess");
}

async fn users_are_listed_in_the_order_they_were_made(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(store.create_user(new_user(&unique("user"))).await.unwrap().value.user);
    }
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(all_pages(limit, |page| store.users(page)).await, made, "{limit}");
    }
}
