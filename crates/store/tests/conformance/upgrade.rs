//! Databases of earlier releases, brought up to date.

use std::sync::Arc;
use std::time::Duration;

use chatsphere_core::store::HistoryRange;
use chatsphere_core::{Access, RoomId};
use chatsphere_store::migrate;
use tokio_postgres::Client;

use crate::edits::edit;
use crate::fixture::{Fixture, on_postgres};
use crate::on_every_database;

on_every_database!(a_database_of_the_first_release_is_brought_up_to_date, a_database_with_edits_is_brought_up_to_date,);

/// Makes the tables of the first release, with a room of two members whose owner has left, and 1,000 messages.
pub(crate) async fn first_release(fixture: &Fixture) {
    let sqlite = fixture.url.sqlite_path().is_some();
    let (tables, number, yes, id) = if sqlite {
        (include_str!("../../migrations/sqlite/0001_tables.sql"), "INTEGER", "0", "randomblob(16)")
    } else {
        (include_str!("../../migrations/postgres/0001_tables.sql"), "int", "false", "gen_random_uuid()")
    };
    let room = if sqlite { format!("x'{ROOM:032x}'") } else { format!("'{}'", uuid::Uuid::from_u128(ROOM)) };
    let series = if sqlite {
        "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n)"
    } else {
        "generate_series(1, 1000)"
    };
    let rows = format!(
        "INSERT INTO users (id, username, role, disabled, created_at, updated_at)
             VALUES ({id}, 'ada', 'MEMBER', {yes}, 0, 0), ({id}, 'bob', 'MEMBER', {yes}, 0, 0),
                    ({id}, 'eve', 'MEMBER', {yes}, 0, 0);
         INSERT INTO rooms (id, name, owner_pk, seq, message_count, member_count, created_at, updated_at)
             VALUES ({room}, 'room', 3, 1002, 1000, 2, 0, 0), ({id}, 'other', 1, 1, 0, 1, 0, 0);
         INSERT INTO members VALUES (1, 1, 1), (1, 2, 2), (2, 1, 1);
         INSERT INTO room_events VALUES (1, 1, 'member_joined', 1, 1, 0), (1, 2, 'member_joined', 2, 2, 0);
         INSERT INTO messages (id, room_pk, seq, user_pk, content, created_at, updated_at)
             SELECT {id}, 1, i + 2, 1 + i % 2, 'number ' || i, i, i FROM {series} AS numbers (i);"
    );
    let rows = if sqlite { rows.replace(" AS numbers (i)", "") } else { rows };
    let versions = format!("CREATE TABLE schema_version (version {number} PRIMARY KEY, name TEXT NOT NULL)");
    fixture.execute(&format!("{versions}; INSERT INTO schema_version VALUES (1, 'tables'); {tables} {rows}")).await;
}

const ROOM: u128 = 0x0123;

async fn a_database_of_the_first_release_is_brought_up_to_date(fixture: Arc<Fixture>) {
    first_release(&fixture).await;
    assert_eq!(migrate(&fixture.url).await.unwrap().from, 1);
    let node = fixture.node().await;
    let room = RoomId::from_uuid(uuid::Uuid::from_u128(ROOM));
    let page = node.store.history(room, Access::Any, HistoryRange::Newest, 1000).await.unwrap().page;
    let texts: Vec<&str> = page.messages.iter().map(|message| message.content.as_str()).collect();
    let expected: Vec<String> = (1..=1000).map(|number| format!("number {number}")).collect();
    assert_eq!(texts, expected);
    assert!(page.messages.iter().all(|message| message.details.is_none()));
    node.store.close().await;
    fixture.expect("SELECT count(*) FROM members WHERE from_seq = 1 AND role = 0 AND read_seq IS NULL", 3).await;
}

/// Takes the steps up to the one that brought edits, as a release before this one did, and edits a message.
async fn release_with_edits(fixture: &Fixture) {
    first_release(fixture).await;
    let sqlite = fixture.url.sqlite_path().is_some();
    let steps = if sqlite {
        [
            include_str!("../../migrations/sqlite/0002_lists_of_messages.sql"),
            include_str!("../../migrations/sqlite/0003_names.sql"),
            include_str!("../../migrations/sqlite/0004_stored_bytes.sql"),
            include_str!("../../migrations/sqlite/0005_bodies_of_events.sql"),
            include_str!("../../migrations/sqlite/0006_changes_of_messages.sql"),
        ]
    } else {
        [
            include_str!("../../migrations/postgres/0002_nothing.sql"),
            include_str!("../../migrations/postgres/0003_names.sql"),
            include_str!("../../migrations/postgres/0004_stored_bytes.sql"),
            include_str!("../../migrations/postgres/0005_bodies_of_events.sql"),
            include_str!("../../migrations/postgres/0006_changes_of_messages.sql"),
        ]
    };
    for (step, number) in steps.iter().zip(2..) {
        fixture.execute(&format!("{step}\n; INSERT INTO schema_version VALUES ({number}, 'step')")).await;
    }
    let edit = "INSERT INTO texts (message_pk, version, by_pk, at, content) VALUES (1000, 2, 1, 5000, 'edited');
        INSERT INTO changes (message_pk, content_seq, head, version, edited_at) VALUES (1000, 1003, 1, 2, 5000);
        UPDATE messages SET updated_at = 5000 WHERE pk = 1000; UPDATE rooms SET seq = 1003 WHERE pk = 1;";
    fixture.execute(edit).await;
}

async fn a_database_with_edits_is_brought_up_to_date(fixture: Arc<Fixture>) {
    release_with_edits(&fixture).await;
    assert_eq!(migrate(&fixture.url).await.unwrap().from, 6);
    let node = fixture.node().await;
    let room = RoomId::from_uuid(uuid::Uuid::from_u128(ROOM));
    let newest =
        || async { node.store.history(room, Access::Any, HistoryRange::Newest, 1).await.unwrap().page.messages.remove(0) };
    let edited = newest().await;
    assert_eq!((edited.content.as_str(), edited.version().get(), edited.change_seq().get()), ("edited", 2, 1003));
    node.store.submit(edit(room, edited.id, edited.author.id, "again")).await.unwrap();
    let again = newest().await;
    assert_eq!((again.content.as_str(), again.version().get()), ("again", 3));
}

#[tokio::test]
async fn statistics_from_before_keep_no_texts() {
    on_postgres(async |fixture: Arc<Fixture>| {
        first_release(&fixture).await;
        fixture.execute("ANALYZE messages").await;
        let texts = "SELECT count(*) FROM pg_stats WHERE tablename = 'messages' AND attname = 'content'";
        fixture.expect(texts, 1).await;
        migrate(&fixture.url).await.unwrap();
        fixture.expect(texts, 0).await;
    })
    .await;
}

/// Waits until another connection builds the index, whose first transaction has committed that there is one.
async fn until_building(client: &Client) -> i32 {
    let building = "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database()
        AND EXISTS (SELECT 1 FROM pg_class WHERE relname = 'messages_lane')";
    loop {
        if let Some(row) = client.query_opt(building, &[]).await.unwrap() {
            return row.get(0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Begins a transaction for which the build of an index waits.
async fn hold_snapshot(fixture: &Fixture) -> Client {
    let client = fixture.connected().await;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM users LIMIT 1").await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_nodes_write_while_the_index_is_built() {
    on_postgres(async |fixture: Arc<Fixture>| {
        first_release(&fixture).await;
        let (reader, earlier) = (hold_snapshot(&fixture).await, fixture.connected().await);
        let url = fixture.url.clone();
        let migrating = tokio::spawn(async move { migrate(&url).await.unwrap() });
        until_building(&earlier).await;
        // As a node of the first release writes and reads.
        let limited = "SET statement_timeout = '5s'";
        earlier.batch_execute(limited).await.unwrap();
        let insert = "INSERT INTO messages (id, room_pk, seq, user_pk, content, created_at, updated_at)
             VALUES (gen_random_uuid(), 1, 1003, 1, 'meanwhile', 5, 5)";
        earlier.batch_execute(&format!("UPDATE rooms SET seq = 1003 WHERE pk = 1; {insert}")).await.unwrap();
        let newest = "SELECT content FROM messages WHERE room_pk = 1 ORDER BY seq DESC LIMIT 1";
        assert_eq!(earlier.query_one(newest, &[]).await.unwrap().get::<_, String>(0), "meanwhile");
        assert!(!migrating.is_finished());
        reader.batch_execute("COMMIT").await.unwrap();
        migrating.await.unwrap();
        fixture.expect("SELECT count(*) FROM messages WHERE room_pk = 1 AND lane = 0", 1001).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_build_of_the_index_is_begun_anew() {
    on_postgres(async |fixture: Arc<Fixture>| {
        first_release(&fixture).await;
        let (reader, killer) = (hold_snapshot(&fixture).await, fixture.connected().await);
        let url = fixture.url.clone();
        let migrating = tokio::spawn(async move { migrate(&url).await });
        let pid = until_building(&killer).await;
        killer.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        migrating.await.unwrap().unwrap_err();
        let valid = "SELECT count(*) FROM pg_index WHERE indexrelid = 'messages_lane'::regclass AND indisvalid";
        fixture.expect(valid, 0).await;
        reader.batch_execute("COMMIT").await.unwrap();
        assert_eq!(migrate(&fixture.url).await.unwrap().from, 1);
        fixture.expect(valid, 1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_nodes_build_the_index_once() {
    on_postgres(async |fixture: Arc<Fixture>| {
        first_release(&fixture).await;
        let reader = hold_snapshot(&fixture).await;
        let mut migrating = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let url = fixture.url.clone();
            migrating.spawn(async move { migrate(&url).await.unwrap() });
        }
        until_building(&fixture.connected().await).await;
        reader.batch_execute("COMMIT").await.unwrap();
        let reports = migrating.join_all().await;
        assert_eq!(reports.iter().filter(|report| report.from == 1).count(), 1);
    })
    .await;
}
