//! Tests that the commit checks rights: a write that is queued behind a loss of its rights is rejected, on every node.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use chatsphere_core::store::{
    MemberRemoval, MessageDeletion, MessageEdit, NewMember, NewMessage, PinChange, Revocation, UserChange, VersionsForgotten,
};
use chatsphere_core::{
    Access, Actor, Content, ControlPosition, Error, Forbidden, MessageId, NotFound, Permissions, Role, RoomId, Store,
    Timestamp, TokenId, TokenRefusal, TokenType, UserId,
};

use crate::fixture::Fixture;
use crate::on_every_database;
use crate::pins::pin;
use crate::world::{
    World, all_events, all_pages, client_id, first, idempotency, membership, new_message, new_room, new_token, new_user, now,
    revocation, unique,
};

on_every_database!(
    what_waits_behind_a_loss_of_rights_is_refused,
    what_waits_behind_a_removal_is_refused,
    what_waits_behind_a_demoted_moderator_is_refused,
    who_acts_as_a_user_loses_that_users_rights,
    a_restricted_token_is_held_to_its_permissions,
    only_the_privileged_delete_for_good,
    a_token_without_write_gets_no_replay,
    a_minted_token_is_replayed_only_to_its_minter,
    a_restricted_token_revokes_itself_and_what_it_minted,
    another_node_refuses_as_soon_as_a_loss_is_answered,
    nothing_is_stored_once_a_revocation_is_answered,
    no_admin_is_made_once_a_demotion_is_answered,
    many_tokens_and_changes_are_followed,
);

type Attempt = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Queues the write.
fn submitted(mut attempt: Attempt) -> Attempt {
    let mut context = Context::from_waker(Waker::noop());
    assert!(attempt.as_mut().poll(&mut context).is_pending(), "the writer is held up");
    attempt
}

/// The writes that a token may try, in a room with a guest.
#[derive(Clone)]
struct Scene {
    store: Arc<dyn Store>,
    room: RoomId,
    /// A member of the room.
    guest: UserId,
    /// A user who is not a member.
    stranger: UserId,
    /// The token of another user.
    other_token: TokenId,
    /// A message of the writer in the room, which was edited.
    message: MessageId,
    by: UserId,
    actor: Actor,
    at: Timestamp,
}

const WRITES: [&str; 13] = [
    "append",
    "edit",
    "delete_message",
    "remove_message",
    "forget_versions",
    "pin",
    "create_user",
    "change_user",
    "create_room",
    "add_member",
    "remove_member",
    "mint",
    "revoke",
];

impl Scene {
    async fn new(world: &World, by: UserId, token: TokenId) -> Self {
        let store = Arc::clone(&world.node.store);
        let guest = store.submit(new_user(&unique("guest"))).await.unwrap().value;
        let stranger = store.submit(new_user(&unique("stranger"))).await.unwrap().value;
        let room = world.room().await.id;
        world.add(room, guest.user.id).await;
        let message = edited(&store, room, by).await;
        Self {
            store,
            room,
            guest: guest.user.id,
            stranger: stranger.user.id,
            other_token: stranger.token.id,
            message,
            by,
            actor: Actor::Token(token),
            at: now(),
        }
    }

    fn write(&self, what: &'static str) -> Attempt {
        let scene = self.clone();
        let Self { actor, at, .. } = *self;
        let token = actor.token().unwrap();
        Box::pin(async move {
            let Self { store, room, guest, stranger, other_token, message, by, .. } = scene;
            match what {
                "append" => {
                    let new = NewMessage { access: Access::Any, actor, at, ..new_message(room, by, "x") };
                    store.submit(new).await.map(drop)
                }
                "edit" => {
                    let content = Content::from_stored("edited again".to_owned());
                    let edit = MessageEdit {
                        room_id: room,
                        message_id: message,
                        content,
                        if_version: None,
                        max_versions: 50,
                        by,
                        actor,
                        at,
                    };
                    store.submit(edit).await.map(drop)
                }
                "delete_message" => {
                    let deletion = MessageDeletion { room_id: room, message_id: message, hard: false, by, actor, at };
                    store.submit(deletion).await.map(drop)
                }
                "remove_message" => {
                    let deletion = MessageDeletion { room_id: room, message_id: message, hard: true, by, actor, at };
                    store.submit(deletion).await.map(drop)
                }
                "forget_versions" => {
                    let forgotten = VersionsForgotten { room_id: room, message_id: message, actor, at };
                    store.submit(forgotten).await.map(drop)
                }
                "pin" => store.submit(PinChange { actor, at, ..pin(room, message, by, true) }).await.map(drop),
                "create_user" => {
                    let mut new = new_user(&unique("made"));
                    (new.role, new.actor, new.at) = (Role::Admin, actor, at);
                    store.submit(new).await.map(drop)
                }
                "change_user" => {
                    let (role, disabled) = (Some(Role::Admin), None);
                    store.submit(UserChange { user_id: stranger, username: None, role, disabled, actor, at }).await.map(drop)
                }
                "create_room" => {
                    let mut new = new_room(by);
                    (new.actor, new.at) = (actor, at);
                    store.submit(new).await.map(drop)
                }
                "add_member" | "remove_member" => {
                    let user = if what == "add_member" { stranger } else { guest };
                    let mut change = membership(room, user, by);
                    (change.actor, change.at) = (actor, at);
                    match what {
                        "add_member" => store.submit(NewMember(change)).await.map(drop),
                        _ => store.submit(MemberRemoval(change)).await.map(drop),
                    }
                }
                "mint" => {
                    let mut new = new_token(by, Some(token));
                    new.actor = actor;
                    // The store takes the time of a mint from the token.
                    new.token.created_at = Timestamp::from_millis(at.as_seconds() * 1_000);
                    new.token.expires_at = new.token.created_at;
                    store.submit(new).await.map(drop)
                }
                "revoke" => store.submit(Revocation { token: other_token, actor, at }).await,
                _ => panic!("{what}"),
            }
        })
    }

    /// Returns all data that a write could have created or changed.
    async fn everything(&self) -> String {
        let store = &self.store;
        let users = all_pages(100, |page| store.users(page)).await;
        let tokens = all_pages(100, |page| store.tokens(page)).await;
        let rooms = all_pages(100, |page| store.rooms(chatsphere_core::store::RoomFilter::default(), page)).await;
        let versions = store.message_versions(self.room, Access::Any, self.message, first(100)).await;
        // The `Debug` output shows the length of a content, which changes when the content is erased.
        let pins = store.pins(self.room, Access::Any, first(100)).await.unwrap();
        format!("{users:?} {tokens:?} {rooms:?} {versions:?} {pins:?}")
    }
}

/// Posts a message of this user and edits it once.
async fn edited(store: &Arc<dyn Store>, room: RoomId, by: UserId) -> MessageId {
    let posted = store.submit(NewMessage { access: Access::Any, ..new_message(room, by, "posted") }).await.unwrap().value;
    let (content, at) = (Content::from_stored("edited".to_owned()), now());
    let edit = MessageEdit {
        room_id: room,
        message_id: posted.id,
        content,
        if_version: None,
        max_versions: 50,
        by,
        actor: Actor::Operator,
        at,
    };
    store.submit(edit).await.unwrap().message.id
}

fn change(user_id: UserId) -> UserChange {
    UserChange { user_id, username: None, role: None, disabled: None, actor: Actor::Operator, at: now() }
}

/// Creates an ADMIN with a token of its own.
async fn admin(world: &World) -> (UserId, TokenId) {
    let mut new = new_user(&unique("admin"));
    new.role = Role::Admin;
    let made = world.node.store.submit(new).await.unwrap().value;
    (made.user.id, made.token.id)
}

/// The ways in which an ADMIN loses its rights.
const LOSSES: [&str; 5] = ["nothing", "revoked", "family revoked", "disabled", "demoted"];

fn loss(store: &Arc<dyn Store>, what: &'static str, user: UserId, token: TokenId, parent: TokenId) -> Option<Attempt> {
    let store = Arc::clone(store);
    Some(match what {
        "nothing" => return None,
        "revoked" => Box::pin(async move { store.submit(revocation(token, now())).await }),
        "family revoked" => Box::pin(async move { store.submit(revocation(parent, now())).await }),
        "disabled" => {
            let change = UserChange { disabled: Some(true), ..change(user) };
            Box::pin(async move { store.submit(change).await.map(drop) })
        }
        "demoted" => {
            let change = UserChange { role: Some(Role::Member), ..change(user) };
            Box::pin(async move { store.submit(change).await.map(drop) })
        }
        _ => panic!("{what}"),
    })
}

fn refusal_after(loss: &str, write: &str) -> Option<Error> {
    Some(match (loss, write) {
        ("nothing", _) | ("demoted", "create_room" | "mint") => return None,
        ("revoked" | "family revoked", _) => TokenRefusal::Revoked.into(),
        ("disabled", _) => TokenRefusal::UserDisabled.into(),
        ("expired", _) => TokenRefusal::Expired.into(),
        (
            "demoted",
            "append" | "edit" | "delete_message" | "remove_message" | "forget_versions" | "pin" | "add_member"
            | "remove_member",
        ) => Forbidden::NotAMember.into(),
        ("demoted", _) => Forbidden::ClientOnly.into(),
        _ => panic!("{loss} {write}"),
    })
}

async fn what_waits_behind_a_loss_of_rights_is_refused(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    for losing in LOSSES {
        for write in WRITES {
            let (user, parent) = admin(&world).await;
            let token = store.submit(new_token(user, Some(parent))).await.unwrap().value.token.id;
            let scene = Scene::new(&world, user, token).await;
            let before = scene.everything().await;
            let outcome = world
                .in_one_batch(async || {
                    let lost = loss(store, losing, user, token, parent).map(submitted);
                    (lost, submitted(scene.write(write)))
                })
                .await;
            if let Some(lost) = outcome.0 {
                lost.await.unwrap();
            }
            let answer = outcome.1.await;
            let expected = refusal_after(losing, write).map_or(Ok(()), Err);
            assert_eq!(answer, expected, "{losing}, then {write}");
            if losing == "nothing" {
                assert_ne!(scene.everything().await, before, "{write}");
                // The write is accepted when its token expires.
                let end = store.token(token).await.unwrap().unwrap().token.expires_at;
                let late = Scene { at: end, ..Scene::new(&world, user, token).await };
                assert_eq!(late.write(write).await.err(), refusal_after("expired", write), "expired, then {write}");
            }
            // The same again, in a transaction of its own.
            if losing != "nothing" {
                assert_eq!(Scene::new(&world, user, token).await.write(write).await.err(), refusal_after(losing, write));
            }
        }
    }
}

/// The owner and a moderator add and remove a member behind their own removal, and a member posts behind its own.
async fn what_waits_behind_a_removal_is_refused(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = Arc::clone(&world.node.store);
    let attempts = [
        ("append", true),
        ("edit", true),
        ("delete_message", true),
        ("forget_versions", true),
        ("pin", true),
        ("pin", false),
        ("add_member", true),
        ("remove_member", true),
        ("add_member", false),
        ("remove_member", false),
    ];
    for (write, owns) in attempts {
        let mut new = new_user(&unique("steward"));
        new.role = if owns { Role::Member } else { Role::Moderator };
        let steward = store.submit(new).await.unwrap().value;
        let mut scene = Scene::new(&world, steward.user.id, steward.token.id).await;
        let owner = if owns { steward.user.id } else { world.ada.id };
        scene.room = store.submit(new_room(owner)).await.unwrap().value.id;
        world.add(scene.room, steward.user.id).await;
        world.add(scene.room, scene.guest).await;
        scene.message = edited(&store, scene.room, scene.by).await;
        let removal = {
            let (store, change) = (Arc::clone(&store), membership(scene.room, steward.user.id, world.ada.id));
            Box::pin(async move { store.submit(MemberRemoval(change)).await.map(drop) }) as Attempt
        };
        let (before, removed, after) = world
            .in_one_batch(async || (submitted(scene.write(write)), submitted(removal), submitted(scene.write(write))))
            .await;
        assert_eq!((before.await, removed.await), (Ok(()), Ok(())), "{write}");
        let head = store.room(scene.room, Access::Any).await.unwrap().seq;
        assert_eq!(after.await, Err(Forbidden::NotAMember.into()), "{write}");
        assert_eq!(scene.write(write).await, Err(Forbidden::NotAMember.into()), "{write}");
        assert_eq!(store.room(scene.room, Access::Any).await.unwrap().seq, head);
    }
}

async fn what_waits_behind_a_demoted_moderator_is_refused(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = Arc::clone(&world.node.store);
    for write in ["add_member", "remove_member", "pin"] {
        let mut new = new_user(&unique("moderator"));
        new.role = Role::Moderator;
        let moderator = store.submit(new).await.unwrap().value;
        let scene = Scene::new(&world, moderator.user.id, moderator.token.id).await;
        world.add(scene.room, moderator.user.id).await;
        let demotion = loss(&store, "demoted", moderator.user.id, moderator.token.id, moderator.token.id).unwrap();
        let (demoted, after) = world.in_one_batch(async || (submitted(demotion), submitted(scene.write(write)))).await;
        assert_eq!((demoted.await, after.await), (Ok(()), Err(Forbidden::NotAModerator.into())), "{write}");
        store.submit(UserChange { role: Some(Role::Moderator), ..change(moderator.user.id) }).await.unwrap();
        assert_eq!(scene.write(write).await, Ok(()));
    }
}

/// A CLIENT token that acts as a user has that user's rights at the time of the commit, and not its own.
async fn who_acts_as_a_user_loses_that_users_rights(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = Arc::clone(&world.node.store);
    let (_, parent) = admin(&world).await;
    for losing in ["nothing", "removed", "revoked", "disabled", "demoted"] {
        for write in ["append", "edit", "delete_message", "forget_versions", "pin", "add_member", "remove_member"] {
            let mut client = new_token(world.ada.id, None);
            client.token.token_type = TokenType::Client;
            let token = store.submit(client).await.unwrap().value.token.id;
            let (user, own_token) = admin(&world).await;
            let mut scene = Scene::new(&world, user, own_token).await;
            scene.actor = Actor::As { token, user };
            let (lost, expected): (Option<Attempt>, _) = match losing {
                "removed" => {
                    // An owner who is no ADMIN.
                    store.submit(UserChange { role: Some(Role::Member), ..change(user) }).await.unwrap();
                    scene.room = store.submit(new_room(user)).await.unwrap().value.id;
                    world.add(scene.room, scene.guest).await;
                    scene.message = edited(&store, scene.room, user).await;
                    let (store, change) = (Arc::clone(&store), membership(scene.room, user, world.ada.id));
                    let removal = Box::pin(async move { store.submit(MemberRemoval(change)).await.map(drop) });
                    (Some(removal), Err(Forbidden::NotAMember.into()))
                }
                "disabled" => (loss(&store, losing, user, own_token, parent), Err(Error::NotFound(NotFound::User))),
                // The token that acts, rather than the user's own.
                _ => (loss(&store, losing, user, token, parent), refusal_after(losing, write).map_or(Ok(()), Err)),
            };
            let (before, lost, after) = world
                .in_one_batch(async || (submitted(scene.write(write)), lost.map(submitted), submitted(scene.write(write))))
                .await;
            assert_eq!(before.await, Ok(()), "{write}, before {losing}");
            if let Some(lost) = lost {
                lost.await.unwrap();
            }
            assert_eq!(after.await, expected, "{losing}, then {write}");
            assert_eq!(scene.write(write).await, expected, "{losing}, then {write} in a transaction of its own");
        }
    }
    // A USER token acts as nobody else, and nobody acts as a user who does not exist.
    let (user, own_token) = admin(&world).await;
    for write in ["append", "edit"] {
        let mut scene = Scene::new(&world, user, own_token).await;
        scene.actor = Actor::As { token: own_token, user };
        assert_eq!(scene.write(write).await, Err(Forbidden::ClientOnly.into()), "{write}");
        let mut client = new_token(world.ada.id, None);
        client.token.token_type = TokenType::Client;
        let token = store.submit(client).await.unwrap().value.token.id;
        scene.actor = Actor::As { token, user: UserId::new(now()) };
        assert_eq!(scene.write(write).await, Err(Error::NotFound(NotFound::User)), "{write}");
    }
}

/// The commit checks permissions itself, whatever an op has allowed.
async fn a_restricted_token_is_held_to_its_permissions(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let (user, _) = admin(&world).await;
    let with = async |permissions| {
        let mut new = new_token(user, None);
        new.token.permissions = permissions;
        let token = store.submit(new).await.unwrap().value.token.id;
        Scene::new(&world, user, token).await
    };
    let elsewhere = with(Permissions { rooms: Some(vec![RoomId::new(now())]), ..Permissions::ALL }).await;
    let reads = with(Permissions { write: false, delete: false, ..Permissions::ALL }).await;
    for (write, outside, reading) in [
        ("append", Forbidden::NotAMember, Forbidden::NeedsWrite),
        ("pin", Forbidden::NotAMember, Forbidden::NeedsWrite),
        ("create_user", Forbidden::NeedsUnrestricted, Forbidden::NeedsWrite),
        ("change_user", Forbidden::NeedsUnrestricted, Forbidden::NeedsWrite),
        ("create_room", Forbidden::NeedsUnrestricted, Forbidden::NeedsWrite),
        ("add_member", Forbidden::NotAMember, Forbidden::NeedsWrite),
        ("remove_member", Forbidden::NotAMember, Forbidden::NeedsDelete),
        ("mint", Forbidden::MoreRights, Forbidden::NeedsWrite),
        ("revoke", Forbidden::NeedsUnrestricted, Forbidden::NeedsDelete),
    ] {
        assert_eq!(elsewhere.write(write).await, Err(outside.into()), "{write}");
        assert_eq!(reads.write(write).await, Err(reading.into()), "{write}");
    }
    let unknown = Scene { actor: Actor::Token(TokenId::new(now())), ..elsewhere };
    for write in WRITES {
        assert_eq!(unknown.write(write).await, Err(TokenRefusal::Invalid.into()), "{write}");
    }
}

/// Only the privileged delete for good, whatever else they may delete.
async fn only_the_privileged_delete_for_good(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    for role in [Role::Member, Role::Moderator, Role::Admin] {
        let mut new = new_user(&unique("author"));
        new.role = role;
        let author = store.submit(new).await.unwrap().value;
        let mut scene = Scene::new(&world, author.user.id, author.token.id).await;
        scene.room = store.submit(new_room(author.user.id)).await.unwrap().value.id;
        scene.message = edited(store, scene.room, scene.by).await;
        let expected = if role == Role::Admin { Ok(()) } else { Err(Forbidden::ClientOnly.into()) };
        assert_eq!(scene.write("remove_message").await, expected, "{role:?}");
        let mut client = new_token(author.user.id, None);
        client.token.token_type = TokenType::Client;
        scene.actor = Actor::Token(store.submit(client).await.unwrap().value.token.id);
        assert_eq!(scene.write("remove_message").await, Ok(()), "{role:?}");
    }
}

async fn a_token_without_write_gets_no_replay(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let room = world.room().await.id;
    let bob = store.submit(new_token(world.bob.id, None)).await.unwrap().value.token.id;
    world.add(room, world.bob.id).await;
    let actor = Actor::Token(bob);
    let mut by_key = NewMessage { actor, ..new_message(room, world.bob.id, "x") };
    by_key.idempotency = Some(idempotency(1, 1));
    let mut by_client_id = NewMessage { actor, ..new_message(room, world.bob.id, "x") };
    by_client_id.client_message_id = Some(client_id("c"));
    let mut made = new_room(world.bob.id);
    (made.actor, made.idempotency) = (actor, Some(idempotency(2, 2)));
    for _ in 0..2 {
        store.submit(by_key.clone()).await.unwrap();
        store.submit(by_client_id.clone()).await.unwrap();
        store.submit(made.clone()).await.unwrap();
    }
    store.submit(revocation(bob, now())).await.unwrap();
    let revoked = Error::from(TokenRefusal::Revoked);
    assert_eq!(store.submit(by_key).await, Err(revoked.clone()));
    assert_eq!(store.submit(by_client_id).await, Err(revoked.clone()));
    assert_eq!(store.submit(made).await, Err(revoked));
}

async fn a_minted_token_is_replayed_only_to_its_minter(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let (admin, first) = admin(&world).await;
    let sibling = store.submit(new_token(admin, None)).await.unwrap().value.token.id;
    let mut client = new_token(admin, None);
    client.token.token_type = TokenType::Client;
    let client = store.submit(client).await.unwrap().value.token.id;
    let mut other_client = new_token(admin, None);
    other_client.token.token_type = TokenType::Client;
    let other_client = store.submit(other_client).await.unwrap().value.token.id;
    for (number, (minter, other)) in [(first, sibling), (client, other_client)].into_iter().enumerate() {
        let mut user = new_user(&unique("made"));
        (user.actor, user.idempotency) = (Actor::Token(minter), Some(idempotency(10 + number as u8, 1)));
        let made = store.submit(user.clone()).await.unwrap();
        let again = store.submit(user.clone()).await.unwrap();
        assert_eq!((&again.value, again.replayed), (&made.value, true));
        user.actor = Actor::Token(other);
        assert_eq!(store.submit(user).await, Err(Forbidden::MoreRights.into()));
    }
    // A message is not secret: any token that may write gets the answer of a sibling, as after a new login.
    let room = world.room().await.id;
    let mut message = NewMessage { access: Access::Any, ..new_message(room, admin, "x") };
    (message.actor, message.idempotency) = (Actor::Token(first), Some(idempotency(20, 1)));
    let said = store.submit(message.clone()).await.unwrap();
    message.actor = Actor::Token(sibling);
    let again = store.submit(message).await.unwrap();
    assert_eq!((again.value, again.replayed), (said.value, true));
}

async fn a_restricted_token_revokes_itself_and_what_it_minted(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let store = &world.node.store;
    let room = world.room().await.id;
    for permissions in [
        Permissions { rooms: Some(vec![room]), ..Permissions::ALL },
        Permissions { write: false, ..Permissions::ALL },
        Permissions { read: false, ..Permissions::ALL },
    ] {
        let (admin, first) = admin(&world).await;
        for (user, parent) in [(world.ada.id, None), (admin, Some(first))] {
            let mint = async |parent, permissions: &Permissions| {
                let mut new = new_token(user, parent);
                new.token.permissions = permissions.clone();
                store.submit(new).await.unwrap().value.token.id
            };
            let bound = mint(parent, &permissions).await;
            let child = mint(Some(bound), &permissions).await;
            let grandchild = mint(Some(child), &permissions).await;
            let sibling = mint(parent, &Permissions::ALL).await;
            let by = |token, actor| store.submit(Revocation { token, actor: Actor::Token(actor), at: now() });
            let unknown = TokenId::new(now());
            for token in [Some(sibling), parent, Some(unknown)].into_iter().flatten() {
                assert_eq!(by(token, bound).await, Err(Forbidden::NeedsUnrestricted.into()));
            }
            assert_eq!(by(bound, child).await, Err(Forbidden::NeedsUnrestricted.into()), "its parent");
            assert_eq!(by(grandchild, bound).await, Ok(()));
            assert_eq!(by(child, bound).await, Ok(()));
            assert_eq!(by(bound, bound).await, Ok(()));
            assert_eq!(by(bound, sibling).await, Ok(()), "unrestricted");
            assert!(store.token(sibling).await.unwrap().unwrap().token.revoked_at.is_none());
        }
    }
}

/// The other node must not use its cached state of the token.
async fn another_node_refuses_as_soon_as_a_loss_is_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let other = fixture.node().await;
    for losing in LOSSES.into_iter().skip(1) {
        for write in WRITES {
            let (user, parent) = admin(&world).await;
            let token = other.store.submit(new_token(user, Some(parent))).await.unwrap().value.token.id;
            let scene = |scene| Scene { store: Arc::clone(&other.store), ..scene };
            scene(Scene::new(&world, user, token).await).write(write).await.unwrap();
            let second = scene(Scene::new(&world, user, token).await);
            loss(&world.node.store, losing, user, token, parent).unwrap().await.unwrap();
            assert_eq!(second.write(write).await.err(), refusal_after(losing, write), "{losing}, then {write}");
        }
    }
}

/// Writes repeatedly until a write is rejected. An outage does not count: a machine may stall for longer than the time-out of a
/// statement, and if this stopped then, a test that waits for later writes would wait forever.
async fn until_refused<W, T>(mut write: impl FnMut() -> W) -> Error
where
    W: Future<Output = Result<T, Error>>,
{
    loop {
        match write().await {
            Ok(_) => {}
            Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => return error,
        }
    }
}

async fn nothing_is_stored_once_a_revocation_is_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let other = fixture.node().await;
    for round in 0..20 {
        let (user, token) = admin(&world).await;
        let room = world.room().await.id;
        let mut senders = tokio::task::JoinSet::new();
        for number in 0..8 {
            // Some of the writers are on this node.
            let store = if number % 4 == 0 { Arc::clone(&world.node.store) } else { Arc::clone(&other.store) };
            senders.spawn(until_refused(move || {
                let new = NewMessage { access: Access::Any, actor: Actor::Token(token), ..new_message(room, user, "x") };
                store.submit(new)
            }));
        }
        while world.node.store.room(room, Access::Any).await.unwrap().seq.get() < 5 {
            tokio::task::yield_now().await;
        }
        let losing = if round % 2 == 0 { "revoked" } else { "disabled" };
        loss(&world.node.store, losing, user, token, token).unwrap().await.unwrap();
        let head = world.node.store.room(room, Access::Any).await.unwrap().seq;
        let expected = refusal_after(losing, "append").unwrap();
        assert!(senders.join_all().await.into_iter().all(|error| error == expected));
        assert_eq!(world.node.store.room(room, Access::Any).await.unwrap().seq, head, "round {round}");
    }
}

async fn no_admin_is_made_once_a_demotion_is_answered(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let other = fixture.node().await;
    for _ in 0..10 {
        let (user, token) = admin(&world).await;
        let mut making = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(&other.store);
            making.spawn(until_refused(move || {
                let mut new = new_user(&unique("made"));
                (new.role, new.actor) = (Role::Admin, Actor::Token(token));
                store.submit(new)
            }));
        }
        let count = async || all_pages(200, |page| world.node.store.users(page)).await.len();
        let before = count().await;
        while count().await < before + 4 {
            tokio::task::yield_now().await;
        }
        loss(&world.node.store, "demoted", user, token, token).unwrap().await.unwrap();
        let made = count().await;
        assert!(making.join_all().await.into_iter().all(|error| error == Forbidden::ClientOnly.into()));
        assert_eq!(count().await, made);
    }
}

/// There are more changes than a node reads one by one, among them renames, which revoke no rights.
async fn many_tokens_and_changes_are_followed(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let other = fixture.node().await;
    let room = world.room().await.id;
    world.add(room, world.bob.id).await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(world.node.store.submit(new_token(world.bob.id, None)).await.unwrap().value.token.id);
    }
    let say = async |token| {
        let new = NewMessage { actor: Actor::Token(token), ..new_message(room, world.bob.id, "x") };
        other.store.submit(new).await.map(drop)
    };
    for token in &tokens {
        say(*token).await.unwrap();
    }
    for (index, token) in tokens.iter().enumerate() {
        let renames = if index == 0 { 600 } else { index };
        let mut changes = tokio::task::JoinSet::new();
        for _ in 0..renames {
            let store = Arc::clone(&world.node.store);
            let rename = UserChange { username: Some(crate::world::name(&unique("ada"))), ..change(world.ada.id) };
            changes.spawn(async move { store.submit(rename).await.map(drop) });
        }
        world.node.store.submit(revocation(*token, now())).await.unwrap();
        assert_eq!(say(*token).await, Err(TokenRefusal::Revoked.into()));
        for living in &tokens[index + 1..] {
            assert_eq!(say(*living).await, Ok(()));
        }
        assert!(changes.join_all().await.iter().all(Result::is_ok));
    }
    assert!(world.node.store.control_head().await.unwrap() > ControlPosition(600));
    let events = all_events(&world.node, room).await.len();
    assert_eq!(events, 2 + 20 + (0..20).sum::<usize>());
}
