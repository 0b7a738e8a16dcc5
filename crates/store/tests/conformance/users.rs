//! Tests of users and their changes.

use std::sync::Arc;

use chatsphere_core::store::{ExternalUser, HistoryRange, NewUser, UserChange};
use chatsphere_core::{
    Access, Actor, Conflict, ControlChange, ControlPosition, Error, EventKind, ExternalId, Forbidden, NotFound, Role, Store,
    Timestamp, TokenType, User, UserId, Username,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, name, new_token, new_user, now, revocation, unique};

on_every_database!(
    a_user_comes_with_a_token,
    spellings_of_one_name_are_given_once,
    a_user_may_change_the_spelling_of_its_name,
    names_without_keys_stay_and_may_share_a_key,
    a_rename_by_an_older_program_counts,
    nobody_looks_like_one_with_rights_over_others,
    rights_over_others_need_a_name_that_looks_like_no_other,
    looking_alike_and_getting_rights_at_once,
    a_user_is_made_or_found_by_an_external_id,
    one_user_is_made_by_an_external_id_even_at_once,
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
    let done = store.submit(new.clone()).await.unwrap();
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

/// Creates a user.
async fn make(store: &dyn Store, username: &str) -> Result<User, Error> {
    store.submit(new_user(username)).await.map(|done| done.value.user)
}

async fn rename(store: &dyn Store, user: UserId, username: &str) -> Result<User, Error> {
    store.submit(UserChange { username: Some(Username::from_stored(username.to_owned())), ..change(user) }).await
}

async fn give(store: &dyn Store, user: UserId, role: Role) -> Result<User, Error> {
    store.submit(UserChange { role: Some(role), ..change(user) }).await
}

const TAKEN: Error = Error::Conflict(Conflict::UsernameTaken);
const LOOKALIKE: Error = Error::Conflict(Conflict::UsernameLookalike);

async fn spellings_of_one_name_are_given_once(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    for (first, again) in [
        ("é", &["é", "e\u{301}", "É"][..]),
        ("ada", &["ada", "Ada", "ＡＤＡ", "ⓐda"]),
        ("straße", &["strasse", "STRASSE", "STRAẞE"]),
        ("Ada Lovelace", &["ada lovelace", "Ada\u{a0}Lovelace", "Ada  Lovelace", "Ada\u{3000}Lovelace"]),
        ("i", &["I", "İ"]),
    ] {
        make(&*store, first).await.unwrap();
        let other = make(&*store, &unique("other")).await.unwrap();
        for username in again {
            assert_eq!(make(&*store, username).await, Err(TAKEN), "{username}");
            assert_eq!(rename(&*store, other.id, username).await, Err(TAKEN), "{username}");
        }
    }
    // The names of ordinary users may look alike, and differ only in accents.
    for username in ["аda", "ı", "1", "l", "rn", "m", "a da", "àda"] {
        make(&*store, username).await.unwrap();
    }
    // A rejected user left no token.
    assert_eq!(store.tokens(crate::world::first(200)).await.unwrap().items.len(), 5 + 5 + 8);
}

async fn a_user_may_change_the_spelling_of_its_name(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let ada = make(&*store, "ada").await.unwrap();
    give(&*store, ada.id, Role::Admin).await.unwrap();
    for username in ["Ada", "ADA", "ａｄａ", "аda", "ada"] {
        assert_eq!(rename(&*store, ada.id, username).await.unwrap().username.as_str(), username);
    }
    // The earlier name is free again.
    rename(&*store, ada.id, "countess").await.unwrap();
    make(&*store, "Ada").await.unwrap();
}

async fn names_without_keys_stay_and_may_share_a_key(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let mut before = Vec::new();
    for index in 0..3 {
        before.push(make(&*store, &format!("before {index}")).await.unwrap());
    }
    // An older program writes names without keys.
    for (user, username) in before.iter().zip(["ada", "Ada ", "ａda"]) {
        let from = user.username.as_str();
        let sql =
            format!("UPDATE users SET username = '{username}', name_key = NULL, name_look = NULL WHERE username = '{from}'");
        fixture.execute(&sql).await;
    }
    // Names count also before their keys are computed.
    assert_eq!(make(&*store, "ADA").await, Err(TAKEN));
    fixture.execute("UPDATE users SET name_key = NULL, name_look = NULL").await;
    let store = fixture.node().await.store;
    assert_eq!(make(&*store, "ADA").await, Err(TAKEN));
    for (user, username) in before.iter().zip(["ada", "Ada ", "ａda"]) {
        assert_eq!(store.user(user.id).await.unwrap().unwrap().username.as_str(), username);
        assert_eq!(store.user_by_name(username).await.unwrap().unwrap().id, user.id);
        // Setting the current name again is allowed.
        assert!(rename(&*store, user.id, username).await.is_ok());
    }
    assert_eq!(rename(&*store, before[0].id, "ADA").await, Err(TAKEN));
    rename(&*store, before[1].id, "another").await.unwrap();
}

async fn a_rename_by_an_older_program_counts(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let user = make(&*store, "ada").await.unwrap();
    fixture.execute("UPDATE users SET username = 'Grace', role = role WHERE username = 'ada'").await;
    assert_eq!(make(&*store, "grace").await, Err(TAKEN));
    make(&*store, "ADA").await.unwrap();
    // The keys were computed again: another spelling, written by the same program, stays the user's.
    fixture.execute("UPDATE users SET username = 'GRACE' WHERE username = 'Grace'").await;
    assert_eq!(make(&*store, "grace").await, Err(TAKEN));
    rename(&*store, user.id, "grace").await.unwrap();
    rename(&*store, user.id, "Hopper").await.unwrap();
    make(&*store, "grace").await.unwrap();
}

async fn nobody_looks_like_one_with_rights_over_others(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let admin = NewUser { role: Role::Admin, ..new_user("admin") };
    store.submit(admin.clone()).await.unwrap();
    let moderator = make(&*store, "mona").await.unwrap();
    give(&*store, moderator.id, Role::Moderator).await.unwrap();
    let backend = make(&*store, "shop").await.unwrap();
    let mut token = new_token(backend.id, None);
    token.token.token_type = TokenType::Client;
    store.submit(token.clone()).await.unwrap();
    let eve = make(&*store, "eve").await.unwrap();
    for username in ["Admin", "аdmin", "аdmіn", "adrnin", "ɑdmin", "admın", "ADMlN", "rnona", "mоna", "ѕhop", "sh0p"] {
        assert_eq!(make(&*store, username).await, Err(TAKEN), "{username}");
        assert_eq!(rename(&*store, eve.id, username).await, Err(TAKEN), "{username}");
    }
    // A demoted user is not protected any more; a disabled ADMIN is.
    give(&*store, moderator.id, Role::Member).await.unwrap();
    make(&*store, "mоna").await.unwrap();
    store.submit(revocation(token.token.id, now())).await.unwrap();
    make(&*store, "sh0p").await.unwrap();
    store.submit(UserChange { disabled: Some(true), ..change(admin.id) }).await.unwrap();
    assert_eq!(make(&*store, "аdmin").await, Err(TAKEN));
    store.submit(UserChange { disabled: Some(false), ..change(admin.id) }).await.unwrap();
}

async fn rights_over_others_need_a_name_that_looks_like_no_other(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let (bob, imitator) = (make(&*store, "bob").await.unwrap(), make(&*store, "bоb").await.unwrap());
    for (one, other) in [(&bob, &imitator), (&imitator, &bob)] {
        assert_eq!(give(&*store, one.id, Role::Moderator).await, Err(LOOKALIKE));
        assert_eq!(give(&*store, one.id, Role::Admin).await, Err(LOOKALIKE));
        let mut token = new_token(one.id, None);
        token.token.token_type = TokenType::Client;
        assert_eq!(store.submit(token).await, Err(LOOKALIKE));
        // A USER token gives no rights over others.
        store.submit(new_token(one.id, None)).await.unwrap();
        assert_eq!(store.user(other.id).await.unwrap().unwrap().role, Role::Member);
    }
    assert_eq!(store.submit(NewUser { role: Role::Admin, ..new_user("Ьob") }).await.err(), Some(TAKEN));
    // It is allowed while the other is disabled. Then the other can't be enabled as long as it has this name.
    store.submit(UserChange { disabled: Some(true), ..change(imitator.id) }).await.unwrap();
    give(&*store, bob.id, Role::Moderator).await.unwrap();
    let enable = || UserChange { disabled: Some(false), ..change(imitator.id) };
    assert_eq!(store.submit(enable()).await, Err(LOOKALIKE));
    let renamed = UserChange { username: Some(name("robert")), ..enable() };
    assert!(!store.submit(renamed).await.unwrap().disabled);
}

/// Some users take a name, and others get rights with a name that looks like it. Some succeed, but never both kinds.
async fn looking_alike_and_getting_rights_at_once(fixture: Arc<Fixture>) {
    let (one, two) = (fixture.node().await, fixture.node().await);
    for round in 0..10 {
        let wanted = make(&*one.store, &format!("mod {round}x")).await.unwrap();
        let eve = make(&*one.store, &unique("eve")).await.unwrap();
        // Its o is Cyrillic.
        let lookalike = format!("mоd {round}x");
        let (promoting, imitating) =
            tokio::join!(give(&*one.store, wanted.id, Role::Moderator), rename(&*two.store, eve.id, &lookalike),);
        assert!(promoting.is_ok() != imitating.is_ok(), "{promoting:?} {imitating:?}");
    }
}

fn external(id: &str, username: Option<&str>) -> ExternalUser {
    let at = now();
    ExternalUser {
        external_id: ExternalId::parse(id.to_owned()).unwrap(),
        id: UserId::new(at),
        username: username.map(name),
        unless_unchanged: None,
        role: None,
        token: None,
        actor: Actor::Operator,
        at,
    }
}

async fn a_user_is_made_or_found_by_an_external_id(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let nameless = store.submit(external("42", None)).await;
    assert!(matches!(nameless, Err(Error::Invalid(field)) if field.field == "username"));
    let made = store.submit(external("42", Some("ada"))).await.unwrap();
    assert!(made.made && made.token.is_none() && made.user.role == Role::Member);
    assert_eq!(store.user(made.user.id).await.unwrap(), Some(made.user.clone()));
    let head = store.control_head().await.unwrap();

    let again = store.submit(external("42", Some("ada"))).await.unwrap();
    assert_eq!((again.made, &again.user), (false, &made.user));
    assert_eq!(store.control_head().await.unwrap(), head);
    let renamed = ExternalUser { role: Some(Role::Moderator), ..external("42", Some("Countess")) };
    let renamed = store.submit(renamed).await.unwrap().user;
    assert_eq!((renamed.id, renamed.username.as_str(), renamed.role), (made.user.id, "Countess", Role::Moderator));
    assert_ne!(store.control_head().await.unwrap(), head);

    // If the name is taken, nothing is stored.
    make(&*store, "bob").await.unwrap();
    let taken = ExternalUser { role: Some(Role::Admin), ..external("42", Some("Bob")) };
    assert_eq!(store.submit(taken).await, Err(TAKEN));
    assert_eq!(store.submit(external("43", Some("countess"))).await, Err(TAKEN));
    assert_eq!(store.user(made.user.id).await.unwrap(), Some(renamed));

    let token = |id| ExternalUser { token: Some(new_token(made.user.id, None).token), ..external(id, None) };
    let with_token = store.submit(token("42")).await.unwrap();
    let kept = store.token(with_token.token.as_ref().unwrap().id).await.unwrap().unwrap();
    assert_eq!((kept.token.user_id, kept.user.id), (made.user.id, made.user.id));
    assert_eq!(kept.user.external_id, Some(external("42", None).external_id));
    // An ADMIN may create users with a token, but gets no token of an existing user.
    let boss = NewUser { role: Role::Admin, ..new_user("boss") };
    store.submit(boss.clone()).await.unwrap();
    let by_admin = |id, username: Option<&str>| {
        let (username, actor) = (username.map(name), Actor::Token(boss.token.id));
        ExternalUser { username, actor, ..token(id) }
    };
    assert_eq!(store.submit(by_admin("42", None)).await, Err(Forbidden::ClientOnly.into()));
    let dora = store.submit(by_admin("44", Some("dora"))).await.unwrap();
    assert_eq!(dora.token.map(|token| token.user_id), Some(dora.user.id));
    let by_member = ExternalUser { actor: Actor::Token(with_token.token.unwrap().id), ..external("45", Some("eve")) };
    assert_eq!(store.submit(by_member).await, Err(Forbidden::ClientOnly.into()));
    // External ids are compared byte by byte.
    assert!(store.submit(external("A", Some("upper"))).await.unwrap().made);
    assert!(store.submit(external("a", Some("lower"))).await.unwrap().made);
}

async fn one_user_is_made_by_an_external_id_even_at_once(fixture: Arc<Fixture>) {
    let (one, two) = (fixture.node().await, fixture.node().await);
    for round in 0..10 {
        let mut attempts = tokio::task::JoinSet::new();
        for attempt in 0..8 {
            let store = if attempt % 2 == 0 { Arc::clone(&one.store) } else { Arc::clone(&two.store) };
            let id = format!("user/{round}");
            attempts.spawn(async move { store.submit(external(&id, Some(&format!("at once {id}")))).await });
        }
        let done: Vec<_> = attempts.join_all().await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done.iter().filter(|done| done.made).count(), 1);
        assert!(done.iter().all(|other| other.user == done[0].user));
    }
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
                attempts.spawn(async move { store.submit(new_user(&wanted)).await.map(|_| ()) });
            } else {
                let other = store.submit(new_user(&unique("other"))).await.unwrap().value.user.id;
                let mut change = change(other);
                change.username = Some(name(&wanted));
                attempts.spawn(async move { store.submit(change).await.map(|_| ()) });
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
    let after = store.submit(wish.clone()).await.unwrap();
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
    assert_eq!(store.submit(taken).await, Err(Conflict::UsernameTaken.into()));
    assert_eq!(store.user(world.ada.id).await.unwrap().unwrap().role, Role::Moderator);
    let nobody = change(UserId::new(Timestamp::from_millis(1)));
    assert_eq!(store.submit(nobody).await, Err(Error::NotFound(NotFound::User)));
}

async fn a_change_of_nothing_is_not_logged(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let mut wish = change(world.ada.id);
    wish.username = Some(world.ada.username.clone());
    wish.role = Some(world.ada.role);
    wish.disabled = Some(false);
    assert_eq!(world.node.store.submit(wish).await, Ok(world.ada.clone()));
    assert_eq!(world.node.store.submit(change(world.ada.id)).await, Ok(world.ada.clone()));
    assert_eq!(world.node.store.control_head().await, Ok(ControlPosition(0)));
}

async fn names_in_messages_are_the_present_ones(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let room = world.room().await;
    world.post(room.id, "as Ada").await;
    let mut wish = change(world.ada.id);
    wish.username = Some(name("Countess"));
    world.node.store.submit(wish).await.unwrap();
    assert_eq!(world.post(room.id, "as Countess").await.author.username.as_str(), "Countess");
    let page = world.node.store.history(room.id, Access::Any, HistoryRange::Newest, 9).await.unwrap();
    assert!(page.messages.iter().all(|message| message.author.username.as_str() == "Countess"));
    let joined = &all_events(&world.node, room.id).await[0];
    assert!(matches!(&joined.kind, EventKind::MemberJoined { user, .. } if user.username.as_str() == "Countess"));
    let members = world.node.store.members(room.id, Access::Any, crate::world::first(9)).await.unwrap();
    assert_eq!(members.page.items[0].username.as_str(), "Countess");
    let token = world.node.store.submit(new_token(world.ada.id, None)).await.unwrap().value;
    assert_eq!(token.user.username.as_str(), "Countess");
}

async fn users_are_listed_in_the_order_they_were_made(fixture: Arc<Fixture>) {
    let store = fixture.node().await.store;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(store.submit(new_user(&unique("user"))).await.unwrap().value.user);
    }
    for limit in [1, 2, 3, 6, 7, 8, 100] {
        assert_eq!(all_pages(limit, |page| store.users(page)).await, made, "{limit}");
    }
}
