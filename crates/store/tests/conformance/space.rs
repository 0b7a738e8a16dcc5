//! Tests of a disk that fills up, and of users' daily quotas.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::{
    MemberRemoval, MessageDeletion, MessageEdit, NewMember, NewMessage, PinChange, UserChange, VersionsForgotten,
};
use chatsphere_core::{Access, Actor, Error, RoomId, Timestamp, TokenId, TokenType, Unavailable, UserId};
use chatsphere_store::DatabaseUrl;

use crate::fixture::{Fixture, Node, on_postgres, on_sqlite};
use crate::on_every_database;
use crate::pins::pin;
use crate::world::{
    World, client_id, content, membership, new_message, new_room, new_token, new_user, now, revocation, unique,
};

on_every_database!(
    a_user_stores_so_much_a_day,
    a_quota_is_counted_over_all_nodes,
    a_user_over_the_quota_can_still_revoke_rights
);

const FULL: Error = Error::Unavailable(Unavailable::DiskFull);

fn disable(user_id: UserId, disabled: bool) -> UserChange {
    UserChange { user_id, username: None, role: None, disabled: Some(disabled), actor: Actor::Operator, at: now() }
}

/// Posts until the error is that the disk is full.
async fn fill(node: &Node, room: RoomId, author: UserId) -> usize {
    let filling = async {
        let mut stored = 0;
        loop {
            let new = NewMessage { content: content(&"x".repeat(16 * 1024)), ..new_message(room, author, "x") };
            match node.store.submit(new).await {
                Ok(_) => stored += 1,
                Err(error) => {
                    assert_eq!(error, FULL);
                    return stored;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), filling).await.unwrap()
}

/// Makes each change that revokes rights, several times.
async fn take_rights_away(world: &World, store: &dyn chatsphere_core::Store, room: RoomId, members: &[(UserId, TokenId)]) {
    for (number, (user, token)) in members.iter().enumerate() {
        let place = format!("{number} of {}", members.len());
        store.submit(MemberRemoval(membership(room, *user, world.ada.id))).await.expect(&place);
        store.submit(revocation(*token, now())).await.expect(&place);
        store.submit(disable(*user, true)).await.expect(&place);
    }
}

async fn members(world: &World, room: RoomId, count: usize) -> Vec<(UserId, TokenId)> {
    let mut members = Vec::new();
    for _ in 0..count {
        let made = world.node.store.submit(new_user(&unique("member"))).await.unwrap().value;
        world.add(room, made.user.id).await;
        members.push((made.user.id, made.token.id));
    }
    members
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn below_the_mark_nothing_grows_and_rights_are_taken_away() {
    on_sqlite(async |fixture: Arc<Fixture>| {
        let world = World::new(&fixture).await;
        let room = world.room().await.id;
        let members = members(&world, room, 3).await;
        let ada = world.node.store.submit(new_token(world.ada.id, None)).await.unwrap().value.token.id;
        let posted = world.post(room, "short").await;
        // No disk has that much free space.
        let node = fixture.node_with(|options| options.min_free = Some(u64::MAX / 2)).await.unwrap();
        let store = &node.store;
        fill(&node, room, world.ada.id).await;
        let actor = Actor::Token(ada);
        let mut user = new_user(&unique("made"));
        user.actor = actor;
        assert_eq!(store.submit(user).await.err(), Some(FULL));
        let mut made = new_room(world.ada.id);
        made.actor = actor;
        assert_eq!(store.submit(made).await.err(), Some(FULL));
        let mut added = membership(room, world.bob.id, world.ada.id);
        added.actor = actor;
        assert_eq!(store.submit(NewMember(added)).await.err(), Some(FULL));
        let content = content("longer");
        let (message_id, by, at) = (posted.id, posted.author.id, now());
        let edit = MessageEdit { room_id: room, message_id, content, if_version: None, max_versions: 50, by, actor, at };
        assert_eq!(store.submit(edit).await.err(), Some(FULL));
        assert_eq!(store.submit(PinChange { actor, ..pin(room, message_id, by, true) }).await.err(), Some(FULL));
        let forgotten = VersionsForgotten { room_id: room, message_id, actor, at };
        assert_ne!(store.submit(forgotten).await.err(), Some(FULL));
        let deletion = MessageDeletion { room_id: room, message_id, hard: false, by, actor, at };
        assert_ne!(store.submit(deletion).await.err(), Some(FULL));
        let mut minted = new_token(world.ada.id, Some(ada));
        minted.actor = actor;
        assert_eq!(store.submit(minted).await.err(), Some(FULL));
        take_rights_away(&world, &**store, room, &members).await;
        // The operator's own writes are small, and may be what is needed now.
        store.submit(new_token(world.ada.id, None)).await.unwrap();
        assert_eq!(store.submit(new_message(room, world.ada.id, "x")).await.err(), Some(FULL));
    })
    .await;
}

/// A small file system, if this process may mount one.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path, size: &str) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(path).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_full_disk_rights_are_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "size=24m") else {
        println!("left out: this process may not mount a file system");
        return;
    };
    let path = dir.path().join("chat.db");
    // The reserve as an interrupted allocation leaves it.
    let reserve = dir.path().join("chat.db-reserve");
    std::fs::write(&reserve, "").unwrap();
    let world = World::new(&Fixture::on(DatabaseUrl::sqlite(&path))).await;
    let room = world.room().await.id;
    let members = members(&world, room, 40).await;
    let reserved = async {
        while reserve.metadata().unwrap().len() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reserved).await.unwrap();
    assert!(fill(&world.node, room, world.ada.id).await > 100);
    take_rights_away(&world, &*world.node.store, room, &members[..10]).await;
    // Another program fills the disk, to the last byte.
    let junk = dir.path().join("junk");
    let mut file = std::fs::File::create(&junk).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    while std::io::Write::write_all(&mut file, &[1]).is_ok() {}
    take_rights_away(&world, &*world.node.store, room, &members[10..]).await;
    assert_eq!(world.node.store.submit(new_message(room, world.ada.id, "x")).await.err(), Some(FULL));
    // Once there is space, all writes succeed again.
    drop(file);
    std::fs::remove_file(junk).unwrap();
    let page = world.node.store.history(room, Access::Any, chatsphere_core::store::HistoryRange::Newest, 1).await;
    assert_eq!(page.unwrap().messages.len(), 1);
    world.node.store.close().await;
}

/// Without a thread that checks the disk, each write finds a full disk by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unwatched_disk_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::new(dir.path(), "size=8m") else {
        println!("left out: this process may not mount a file system");
        return;
    };
    let fixture = Fixture::on(DatabaseUrl::sqlite(dir.path().join("chat.db")));
    let world = World::on(fixture.node_with(|options| options.min_free = Some(0)).await.unwrap()).await;
    let room = world.room().await.id;
    let junk = dir.path().join("junk");
    std::fs::write(&junk, vec![1; 4 * 1024 * 1024]).unwrap();
    fill(&world.node, room, world.ada.id).await;
    std::fs::remove_file(junk).unwrap();
    world.node.store.submit(new_message(room, world.ada.id, "x")).await.unwrap();
    world.node.store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_servers_full_disk_is_tried_again() {
    on_postgres(async |fixture: Arc<Fixture>| {
        let world = World::new(&fixture).await;
        let room = world.room().await.id;
        fixture
            .execute(
                "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
                 CREATE TRIGGER no_space BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION no_space()",
            )
            .await;
        let append = || world.node.store.submit(new_message(room, world.ada.id, "x"));
        assert_eq!(append().await.err(), Some(FULL));
        fixture.execute("DROP TRIGGER no_space ON messages").await;
        append().await.unwrap();
    })
    .await;
}

/// Makes a room of Ada's and a token of hers, on a node that lets her store 2,000 bytes a day.
async fn bounded(fixture: &Fixture) -> (World, RoomId, Actor) {
    let world = World::on(fixture.node_with(|options| options.daily_bytes = 2_000).await.unwrap()).await;
    let room = world.room().await.id;
    world.add(room, world.bob.id).await;
    let ada = world.node.store.submit(new_token(world.ada.id, None)).await.unwrap().value.token.id;
    (world, room, Actor::Token(ada))
}

fn of(actor: Actor, room: RoomId, author: UserId, bytes: usize) -> NewMessage {
    NewMessage { actor, content: content(&"x".repeat(bytes)), access: Access::Any, ..new_message(room, author, "x") }
}

const DAY: i64 = 24 * 60 * 60 * 1_000;

fn next_day(at: Timestamp) -> Timestamp {
    Timestamp::from_millis((at.as_millis() / DAY + 1) * DAY)
}

fn is_exceeded<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::QuotaExceeded(wait)) if *wait <= Duration::from_secs(24 * 60 * 60) && !wait.is_zero())
}

async fn a_user_stores_so_much_a_day(fixture: Arc<Fixture>) {
    let (world, room, ada) = bounded(&fixture).await;
    let store = &world.node.store;
    let mut first = of(ada, room, world.ada.id, 1_000);
    first.client_message_id = Some(client_id("c"));
    let said = store.submit(first.clone()).await.unwrap().value;
    // Both are in one batch, and the second is counted after the first.
    let (second, third) = (store.submit(of(ada, room, world.ada.id, 300)), store.submit(of(ada, room, world.ada.id, 300)));
    assert!(second.await.is_ok());
    assert!(is_exceeded(&third.await));
    assert!(is_exceeded(&store.submit(of(ada, room, world.ada.id, 300)).await));
    // A replay stores nothing, and is still answered. A message that is small enough still fits.
    assert_eq!(store.submit(first).await.unwrap().value, said);
    assert!(store.submit(of(ada, room, world.ada.id, 1)).await.is_ok());
    // Other users are not affected. A CLIENT token's messages count for their author, and its own for nobody.
    let mut client = new_token(world.bob.id, None);
    client.token.token_type = TokenType::Client;
    let client = Actor::Token(store.submit(client).await.unwrap().value.token.id);
    assert!(store.submit(of(client, room, world.bob.id, 5_000)).await.is_ok());
    assert!(is_exceeded(&store.submit(of(client, room, world.ada.id, 1_000)).await));
    assert!(store.submit(of(Actor::Operator, room, world.ada.id, 5_000)).await.is_ok());
    // The quota is restored when the next day begins.
    let mut late = new_token(world.ada.id, None);
    late.token.expires_at = Timestamp::from_millis(late.token.created_at.as_millis() + 3 * DAY);
    let late = Actor::Token(store.submit(late).await.unwrap().value.token.id);
    let mut tomorrow = of(late, room, world.ada.id, 1_000);
    tomorrow.at = Timestamp::from_millis(next_day(tomorrow.at).as_millis() - 1);
    assert_eq!(store.submit(tomorrow.clone()).await.err(), Some(Error::QuotaExceeded(Duration::from_secs(1))));
    tomorrow.at = Timestamp::from_millis(tomorrow.at.as_millis() + 1);
    assert!(store.submit(tomorrow).await.is_ok());
}

async fn a_quota_is_counted_over_all_nodes(fixture: Arc<Fixture>) {
    let (world, room, ada) = bounded(&fixture).await;
    let other = fixture.node_with(|options| options.daily_bytes = 2_000).await.unwrap();
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = if number % 2 == 0 { Arc::clone(&world.node.store) } else { Arc::clone(&other.store) };
        let author = world.ada.id;
        senders.spawn(async move {
            let answer = store.submit(of(ada, room, author, 200)).await;
            assert!(answer.is_ok() || is_exceeded(&answer), "{answer:?}");
            answer.is_ok()
        });
    }
    assert_eq!(senders.join_all().await.into_iter().filter(|stored| *stored).count(), 5);
}

/// Rooms, members and tokens count as well; revoking rights does not.
async fn a_user_over_the_quota_can_still_revoke_rights(fixture: Arc<Fixture>) {
    let (world, room, ada) = bounded(&fixture).await;
    let store = &world.node.store;
    let Actor::Token(token) = ada else { panic!("no token") };
    let mint = || {
        let mut new = new_token(world.ada.id, Some(token));
        new.actor = ada;
        new
    };
    let child = mint();
    let expires = store.token(token).await.unwrap().unwrap().token.expires_at;
    let within = |mut new: chatsphere_core::store::NewToken| {
        new.token.expires_at = expires;
        new
    };
    store.submit(within(child.clone())).await.unwrap();
    let make = || {
        let mut new = new_room(world.ada.id);
        new.actor = ada;
        new
    };
    store.submit(make()).await.unwrap();
    store.submit(make()).await.unwrap();
    assert!(is_exceeded(&store.submit(make()).await));
    assert!(is_exceeded(&store.submit(within(mint())).await));
    let mut change = membership(room, world.bob.id, world.ada.id);
    change.actor = ada;
    store.submit(MemberRemoval(change.clone())).await.unwrap();
    assert!(is_exceeded(&store.submit(NewMember(change)).await));
    let revoked = chatsphere_core::store::Revocation { token: child.token.id, actor: ada, at: now() };
    store.submit(revoked).await.unwrap();
}
