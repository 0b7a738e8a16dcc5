//! Tests of importing the Node.js version's database, into every database.

use std::collections::BTreeMap;
use std::sync::Arc;

use chatsphere_core::store::{MemberRemoval, MessageFilter, NewMember};
use chatsphere_core::{Access, EventKind, Role, RoomId, UserId};
use chatsphere_store::{
    DatabaseUrl, Derived, ImportError, ImportObserver, ImportOptions, ImportReport, Stage, Tally, derived_id, import_nodejs,
};
use uuid::Uuid;

use crate::fixture::{Fixture, Node, administer, keys, postgres_server, with_database};
use crate::on_every_database;
use crate::world::{World, all_events, all_pages, membership, new_message, new_user, page_of, text_of};

on_every_database!(
    everything_is_imported_unchanged,
    a_user_with_a_taken_name_is_skipped_or_renamed,
    the_owner_and_the_roles_are_those_that_were_asked_for,
    an_import_that_was_cut_off_goes_on,
    what_came_since_is_added_and_what_changed_here_stays,
);

/// The tables as Prisma creates them.
const TABLES: &str = r#"
    CREATE TYPE "Role" AS ENUM ('ADMIN', 'MODERATOR', 'MEMBER');
    CREATE TYPE "TokenType" AS ENUM ('USER', 'CLIENT');
    CREATE TABLE "User" (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, role "Role" NOT NULL DEFAULT 'MEMBER');
    CREATE TABLE "Room" (
        id TEXT PRIMARY KEY, name TEXT NOT NULL,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL
    );
    CREATE TABLE "Message" (
        id TEXT PRIMARY KEY, content TEXT NOT NULL,
        "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL,
        "userId" TEXT NOT NULL REFERENCES "User" (id), "roomId" TEXT NOT NULL REFERENCES "Room" (id)
    );
    CREATE TABLE "ApiToken" (
        id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, "userId" TEXT NOT NULL REFERENCES "User" (id),
            type "TokenType" NOT NULL,
        permissions JSONB NOT NULL, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
            "expiresAt" TIMESTAMP(3) NOT NULL,
        "lastUsedAt" TIMESTAMP(3), revoked BOOLEAN NOT NULL DEFAULT false
    );
    CREATE TABLE "_RoomUsers" ("A" TEXT NOT NULL REFERENCES "Room" (id), "B" TEXT NOT NULL REFERENCES "User" (id),
        UNIQUE ("A", "B"));
    CREATE TABLE _prisma_migrations (id TEXT PRIMARY KEY);
"#;
const ADA: &str = "11111111-1111-4111-8111-111111111111";
const LOBBY: &str = "22222222-2222-4222-8222-222222222222";
const FIRST: &str = "33333333-3333-4333-8333-333333333333";

/// A database of the Node.js version that is removed after the test.
struct Old {
    server: String,
    name: String,
}

impl Old {
    async fn new(contents: &str) -> Option<Self> {
        let server = postgres_server()?;
        let name = format!("nodejs_{:016x}", rand::random::<u64>());
        administer(&server, &format!("CREATE DATABASE {name}")).await;
        let old = Self { server, name };
        old.execute(TABLES).await;
        old.execute(contents).await;
        Some(old)
    }

    fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    async fn execute(&self, sql: &str) {
        administer(&self.url(), sql).await;
    }

    fn options(&self, fixture: &Fixture, last_resort: UserId) -> ImportOptions {
        ImportOptions {
            source: format!("{}?schema=public&connection_limit=5", self.url()).parse().unwrap(),
            target: fixture.url.clone(),
            keys: keys(),
            owner: None,
            last_resort,
            keep_roles: false,
            rename: false,
        }
    }

    async fn drop(self) {
        administer(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

#[derive(Default)]
struct Heard {
    derived: BTreeMap<String, Uuid>,
    taken: Vec<(String, Option<String>)>,
    messages: Option<tokio::sync::mpsc::UnboundedSender<u64>>,
}

impl ImportObserver for Heard {
    fn progress(&mut self, stage: Stage, done: u64, total: u64) {
        assert!(done <= total);
        if let (Stage::Messages, Some(messages)) = (stage, &self.messages) {
            let _ = messages.send(done);
        }
    }

    fn derived(&mut self, _: Derived, old: &str, new: Uuid) {
        self.derived.insert(old.to_owned(), new);
    }

    fn name_taken(&mut self, name: &str, _: &str, renamed: Option<&str>) {
        self.taken.push((name.to_owned(), renamed.map(str::to_owned)));
    }
}

async fn import(options: &ImportOptions) -> (ImportReport, Heard) {
    let mut heard = Heard::default();
    let report = import_nodejs(options, &mut heard).await.unwrap();
    (report, heard)
}

/// Makes a new installation with one ADMIN, and stops its node.
async fn installation(fixture: &Fixture) -> UserId {
    let node = fixture.node().await;
    let mut admin = new_user("admin");
    admin.role = Role::Admin;
    let id = node.store.submit(admin).await.unwrap().value.user.id;
    node.store.close().await;
    id
}

fn room(text: &str) -> RoomId {
    text.parse().unwrap_or_else(|_| RoomId::from_uuid(derived_id(text)))
}

fn user(text: &str) -> UserId {
    text.parse().unwrap_or_else(|_| UserId::from_uuid(derived_id(text)))
}

/// Returns the room's messages and its members, each in their order, after checking the counts and numbers.
async fn contents(node: &Node, id: RoomId) -> (Vec<String>, Vec<String>) {
    let events = all_events(node, id).await;
    let row = node.store.room(id, Access::Any).await.unwrap();
    let members = all_pages(100, |page| page_of(node.store.members(id, Access::Any, page))).await;
    let texts: Vec<String> = events.iter().filter_map(text_of).map(str::to_owned).collect();
    assert_eq!((row.seq.get(), row.message_count), (events.len() as u64, texts.len() as u64));
    assert_eq!(row.member_count, members.len() as u64);
    let joined = events.iter().filter(|event| matches!(event.kind, EventKind::MemberJoined { .. })).count();
    assert!(joined >= members.len());
    (texts, members.into_iter().map(|member| member.username.as_str().to_owned()).collect())
}

fn tally(added: u64, present: u64, skipped: u64) -> Tally {
    Tally { added, present, skipped }
}

async fn everything_is_imported_unchanged(fixture: Arc<Fixture>) {
    let Some(old) = Old::new(&format!(
        r#"
        INSERT INTO "User" VALUES
            ('{ADA}', 'ada', 'ADMIN'), ('bob', 'Bob  {long}', 'MODERATOR'), ('eve', E'e\tv\u200be ', 'MEMBER'),
            ('idle', 'idle', 'MEMBER');
        INSERT INTO "Room" VALUES
            ('{LOBBY}', 'lobby', '2023-01-02 03:04:05.678', '2023-02-03 04:05:06.789'),
            ('default-room', E'\n{long}', '2023-01-01', '2023-01-01'), ('nobody', '', '2023-01-03', '2023-01-03'),
            ('quiet', 'quiet', '2023-01-04', '2023-01-04');
        INSERT INTO "_RoomUsers" VALUES
            ('{LOBBY}', '{ADA}'), ('{LOBBY}', 'bob'), ('{LOBBY}', 'idle'), ('default-room', '{ADA}'), ('quiet', 'idle');
        INSERT INTO "Message" VALUES
            ('{FIRST}', 'one', '2023-01-05 00:00:00.001', '2023-01-06 00:00:00.002', 'eve', '{LOBBY}'),
            ('m-c', '', '2023-01-05 00:00:01', '2023-01-05 00:00:01', 'bob', '{LOBBY}'),
            ('m-b', 'three', '2023-01-05 00:00:01', '2023-01-05 00:00:01', '{ADA}', '{LOBBY}'),
            ('m-a', repeat('long ', 600000), '2023-01-05 00:00:02', '2023-01-05 00:00:02', '{ADA}', '{LOBBY}'),
            ('m-d', 'elsewhere', '2023-01-05 00:00:00.500', '2023-01-05', 'eve', 'default-room');
        INSERT INTO "ApiToken" VALUES ('t', 'jwt', '{ADA}', 'CLIENT', '{{}}', '2023-01-01', '2024-01-01', NULL, false);
        "#,
        long = "x".repeat(300),
    ))
    .await
    else {
        return;
    };
    let admin = installation(&fixture).await;
    let options = old.options(&fixture, admin);
    let (report, heard) = import(&options).await;
    assert_eq!((report.users, report.rooms), (tally(4, 0, 0), tally(4, 0, 0)));
    assert_eq!((report.members, report.messages, report.tokens_left), (tally(5, 0, 0), tally(5, 0, 0), 1));
    let derived: Vec<&str> = heard.derived.keys().map(String::as_str).collect();
    assert_eq!(derived, ["bob", "default-room", "eve", "idle", "m-a", "m-b", "m-c", "m-d", "nobody", "quiet"]);
    assert!(heard.derived.iter().all(|(old, new)| derived_id(old) == *new));

    // A second import changes nothing.
    let (again, same) = import(&options).await;
    assert_eq!((again.users, again.messages, again.members), (tally(0, 4, 0), tally(0, 5, 0), tally(0, 5, 0)));
    assert_eq!(same.derived, heard.derived);

    let node = fixture.node().await;
    let long = "long ".repeat(600_000);
    let (texts, members) = contents(&node, room(LOBBY)).await;
    assert_eq!(texts, ["one", "three", "", &long]);
    // Members are in the order of their first message. Those without messages come last, and users who are not members are
    // missing.
    assert_eq!(members, ["ada", &format!("Bob  {}", "x".repeat(300)), "idle"]);
    assert_eq!(contents(&node, room("default-room")).await.0, ["elsewhere"]);
    let lobby = node.store.room(room(LOBBY), Access::Any).await.unwrap();
    assert_eq!((lobby.name.as_str(), lobby.owner), ("lobby", user("eve")));
    assert_eq!(
        (lobby.created_at.to_string(), lobby.updated_at.to_string()),
        times("2023-01-02T03:04:05.678Z", "2023-02-03T04:05:06.789Z")
    );
    let events = all_events(&node, room(LOBBY)).await;
    let EventKind::Message(first) = &events[3].kind else { panic!("{:?}", events[3]) };
    assert_eq!((first.id.to_string().as_str(), first.author.id), (FIRST, user("eve")));
    assert_eq!(
        (first.created_at.to_string(), first.updated_at.to_string()),
        times("2023-01-05T00:00:00.001Z", "2023-01-06T00:00:00.002Z")
    );
    for (name, owner) in [("default-room", user("eve")), ("quiet", user("idle")), ("nobody", admin)] {
        assert_eq!(node.store.room(room(name), Access::Any).await.unwrap().owner, owner, "{name}");
    }
    for (id, name) in [(ADA, "ada"), ("eve", "e\tv\u{200b}e ")] {
        let found = node.store.user(user(id)).await.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.role, found.disabled), (name, Role::Member, false));
    }
    // Lists of messages of all rooms are in the order of time, for one author and for all.
    let of_eve = MessageFilter { author: Some(user("eve")), ..MessageFilter::default() };
    let listed = all_pages(1, |page| node.store.messages(of_eve.clone(), page)).await;
    let listed: Vec<&str> = listed.iter().map(|item| item.message.content.as_str()).collect();
    assert_eq!(listed, ["elsewhere", "one"]);
    // New writes work as always.
    node.store.submit(NewMember(membership(room(LOBBY), user("eve"), user("eve")))).await.unwrap();
    let posted = node.store.submit(new_message(room(LOBBY), user("eve"), "now")).await.unwrap().value;
    assert_eq!(posted.seq.get(), 9);
    let listed = all_pages(2, |page| node.store.messages(of_eve.clone(), page)).await;
    assert_eq!(listed.len(), 3);
    old.drop().await;
}

fn times(created: &str, updated: &str) -> (String, String) {
    (created.to_owned(), updated.to_owned())
}

async fn a_user_with_a_taken_name_is_skipped_or_renamed(fixture: Arc<Fixture>) {
    let Some(old) = Old::new(&format!(
        r#"
        INSERT INTO "User" VALUES ('1', 'admin', 'ADMIN'), ('2', 'admin-2', 'MEMBER'), ('3', 'ADMlN', 'MEMBER'),
            ('4', 'Ada', 'MEMBER'), ('5', 'ada', 'MEMBER');
        INSERT INTO "Room" VALUES ('{LOBBY}', 'lobby', '2023-01-01', '2023-01-01');
        INSERT INTO "_RoomUsers" VALUES ('{LOBBY}', '1'), ('{LOBBY}', '2');
        INSERT INTO "Message" VALUES
            ('a', 'by admin', '2023-01-01', '2023-01-01', '1', '{LOBBY}'),
            ('b', 'by 2', '2023-01-02', '2023-01-02', '2', '{LOBBY}');
        "#
    ))
    .await
    else {
        return;
    };
    let admin = installation(&fixture).await;
    let mut options = old.options(&fixture, admin);
    let (report, heard) = import(&options).await;
    assert_eq!((report.users, report.members, report.messages), (tally(3, 0, 2), tally(1, 0, 1), tally(1, 0, 1)));
    // A name that only looks like an ADMIN's counts as taken. The imported names are not compared with each other.
    assert_eq!(heard.taken, [("admin".to_owned(), None), ("ADMlN".to_owned(), None)]);
    let node = fixture.node().await;
    assert_eq!(node.store.room(room(LOBBY), Access::Any).await.unwrap().owner, user("2"), "not one who is left out");
    assert_eq!(contents(&node, room(LOBBY)).await, (vec!["by 2".to_owned()], vec!["admin-2".to_owned()]));
    // No imported user becomes the existing ADMIN.
    assert_eq!(node.store.user_by_name("admin").await.unwrap().unwrap().id, admin);
    node.store.close().await;

    options.rename = true;
    let (report, heard) = import(&options).await;
    assert_eq!((report.users, report.messages), (tally(2, 3, 0), tally(1, 1, 0)));
    let renamed = |name: &str, new: &str| (name.to_owned(), Some(new.to_owned()));
    assert_eq!(heard.taken, [renamed("admin", "admin-3"), renamed("ADMlN", "ADMlN-2")]);
    let node = fixture.node().await;
    let renamed = node.store.user(user("1")).await.unwrap().unwrap();
    assert_eq!((renamed.username.as_str(), renamed.role), ("admin-3", Role::Member));
    assert_eq!(contents(&node, room(LOBBY)).await.0, ["by 2", "by admin"]);
    node.store.close().await;
    let (again, heard) = import(&options).await;
    assert_eq!((again.users, again.messages, heard.taken), (tally(0, 5, 0), tally(0, 2, 0), Vec::new()));
    old.drop().await;
}

async fn the_owner_and_the_roles_are_those_that_were_asked_for(fixture: Arc<Fixture>) {
    let Some(old) = Old::new(&format!(
        r#"
        INSERT INTO "User" VALUES ('{ADA}', 'ada', 'ADMIN'), ('bob', 'bob', 'MODERATOR');
        INSERT INTO "Room" VALUES ('{LOBBY}', 'lobby', '2023-01-01', '2023-01-01'),
            ('empty', 'empty', '2023-01-01', '2023-01-01');
        INSERT INTO "Message" VALUES ('a', 'hello', '2023-01-01', '2023-01-01', '{ADA}', '{LOBBY}');
        "#
    ))
    .await
    else {
        return;
    };
    let admin = installation(&fixture).await;
    let mut options = old.options(&fixture, admin);
    options.owner = Some("nobody".to_owned());
    let refused = import_nodejs(&options, &mut Heard::default()).await;
    assert!(matches!(refused, Err(ImportError::NoSuchOwner(_))), "{refused:?}");
    let node = fixture.node().await;
    assert_eq!(node.store.user(user(ADA)).await.unwrap(), None, "nothing was written");
    node.store.close().await;

    options.owner = Some("bob".to_owned());
    options.keep_roles = true;
    import(&options).await;
    let node = fixture.node().await;
    for name in [LOBBY, "empty"] {
        assert_eq!(node.store.room(room(name), Access::Any).await.unwrap().owner, user("bob"));
    }
    let roles = [node.store.user(user(ADA)).await, node.store.user(user("bob")).await];
    assert_eq!(roles.map(|user| user.unwrap().unwrap().role), [Role::Admin, Role::Moderator]);
    node.store.close().await;

    // A source that is not such a database, or is not PostgreSQL, is an error.
    options.source = with_database(&old.server, "postgres").parse().unwrap();
    let refused = import_nodejs(&options, &mut Heard::default()).await;
    assert!(matches!(refused, Err(ImportError::NotFirstVersion { table: "User", .. })), "{refused:?}");
    options.source = DatabaseUrl::sqlite("old.db");
    assert!(matches!(import_nodejs(&options, &mut Heard::default()).await, Err(ImportError::NotPostgres)));
    old.drop().await;
}

async fn an_import_that_was_cut_off_goes_on(fixture: Arc<Fixture>) {
    let Some(old) = Old::new(
        r#"
        INSERT INTO "User" SELECT 'u' || n, 'user ' || n, 'MEMBER' FROM generate_series(0, 49) n;
        INSERT INTO "Room" SELECT 'r' || n, 'room ' || n, '2023-01-01', '2023-01-01' FROM generate_series(0, 19) n;
        INSERT INTO "_RoomUsers" SELECT 'r' || r, 'u' || u FROM generate_series(0, 19) r, generate_series(0, 49) u;
        INSERT INTO "Message" SELECT 'm' || n, n::text, timestamp '2023-01-02' + n / 3 * interval '1 ms', '2023-01-02',
            'u' || n * 7 % 50, 'r' || n % 20 FROM generate_series(0, 29999) n;
        "#,
    )
    .await
    else {
        return;
    };
    let admin = installation(&fixture).await;
    let options = old.options(&fixture, admin);
    // The import is interrupted several times, each time a little later.
    for enough in [1, 9_000, 20_000] {
        let (messages, mut done) = tokio::sync::mpsc::unbounded_channel();
        let mut heard = Heard { messages: Some(messages), ..Heard::default() };
        let cut_off = options.clone();
        let importing = tokio::spawn(async move { import_nodejs(&cut_off, &mut heard).await });
        while done.recv().await.is_some_and(|done| done < enough) {}
        importing.abort();
        let _ = importing.await;
    }
    let (report, _) = import(&options).await;
    assert_eq!(report.messages.seen(), 30_000);
    let node = fixture.node().await;
    for number in 0..20 {
        let (texts, members) = contents(&node, room(&format!("r{number}"))).await;
        assert_eq!(members.len(), 50);
        let texts: Vec<u32> = texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(texts.len(), 1_500);
        // Three messages have the same time, each in a room of its own.
        assert!(texts.is_sorted(), "{texts:?}");
    }
    old.drop().await;
}

async fn what_came_since_is_added_and_what_changed_here_stays(fixture: Arc<Fixture>) {
    let Some(old) = Old::new(&format!(
        r#"
        INSERT INTO "User" VALUES ('{ADA}', 'ada', 'MEMBER'), ('bob', 'bob', 'MEMBER');
        INSERT INTO "Room" VALUES ('{LOBBY}', 'lobby', '2023-01-01', '2023-01-01');
        INSERT INTO "_RoomUsers" VALUES ('{LOBBY}', '{ADA}'), ('{LOBBY}', 'bob');
        INSERT INTO "Message" VALUES ('a', 'before', '2023-01-01', '2023-01-01', '{ADA}', '{LOBBY}');
        "#
    ))
    .await
    else {
        return;
    };
    let admin = installation(&fixture).await;
    let options = old.options(&fixture, admin);
    import(&options).await;
    let node = fixture.node().await;
    let world = World::on(node).await;
    world.node.store.submit(MemberRemoval(membership(room(LOBBY), user("bob"), user(ADA)))).await.unwrap();
    world.node.store.submit(new_message(room(LOBBY), user(ADA), "here")).await.unwrap();
    world.node.store.close().await;
    old.execute(
        &format!(
            r#"INSERT INTO "Message" VALUES ('b', 'there', '2023-01-03', '2023-01-03', 'bob', '{LOBBY}'),
               ('c', 'by carol', '2023-01-02', '2023-01-02', 'carol', '{LOBBY}')"#
        )
        .replace("INSERT INTO \"Message\"", r#"INSERT INTO "User" VALUES ('carol', 'carol', 'MEMBER'); INSERT INTO "Message""#),
    )
    .await;
    let (report, _) = import(&options).await;
    assert_eq!((report.users, report.members, report.messages), (tally(1, 2, 0), tally(0, 1, 1), tally(2, 1, 0)));
    let node = fixture.node().await;
    let (texts, members) = contents(&node, room(LOBBY)).await;
    assert_eq!(
        (texts, members),
        (vec!["before", "here", "by carol", "there"].into_iter().map(str::to_owned).collect(), vec!["ada".to_owned()])
    );
    old.drop().await;
}
