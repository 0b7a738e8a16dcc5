//! Tests of migrations, and of databases that belong to other programs.

use std::sync::Arc;

use chatsphere_store::{DatabaseUrl, OpenError, inspect, migrate, renew_epoch};

use crate::fixture::{Fixture, left_out, on_postgres, postgres_server, with_database};
use crate::on_every_database;
use crate::upgrade::first_release;

on_every_database!(
    migrating_makes_the_tables_once,
    several_migrate_at_once,
    a_newer_version_is_recognised,
    another_programs_tables_are_left_alone,
    a_renewed_epoch_is_used_from_the_next_start_on,
);

async fn a_renewed_epoch_is_used_from_the_next_start_on(fixture: Arc<Fixture>) {
    assert_eq!(renew_epoch(&fixture.url).await.unwrap(), None, "nothing is stored yet");
    let before = fixture.node().await.store.epoch();
    let renewed = renew_epoch(&fixture.url).await.unwrap();
    assert_ne!(renewed.as_ref(), Some(&before));
    assert_eq!(Some(fixture.node().await.store.epoch()), renewed);
}

async fn migrating_makes_the_tables_once(fixture: Arc<Fixture>) {
    let first = migrate(&fixture.url).await.unwrap();
    assert_eq!((first.from, first.applied.len()), (0, first.to as usize));
    let again = migrate(&fixture.url).await.unwrap();
    assert_eq!((again.from, again.to, again.applied.len()), (first.to, first.to, 0));
    fixture.node().await.store.ping().await.unwrap();
}

async fn several_migrate_at_once(fixture: Arc<Fixture>) {
    let mut migrating = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let url = fixture.url.clone();
        migrating.spawn(async move { migrate(&url).await.unwrap() });
    }
    let reports = migrating.join_all().await;
    assert_eq!(reports.iter().filter(|report| report.from == 0).count(), 1);
}

async fn a_newer_version_is_recognised(fixture: Arc<Fixture>) {
    let known = migrate(&fixture.url).await.unwrap().to;
    fixture.execute("INSERT INTO schema_version (version, name) VALUES (1000, 'from the future')").await;
    let opened = fixture.node_with(|_| {}).await.err();
    assert!(matches!(opened, Some(OpenError::NewerVersion { database: 1000, program }) if program == known), "{opened:?}");
    assert!(matches!(migrate(&fixture.url).await, Err(OpenError::NewerVersion { .. })));
}

async fn another_programs_tables_are_left_alone(fixture: Arc<Fixture>) {
    fixture.execute("CREATE TABLE users (name TEXT)").await;
    let opened = fixture.node_with(|_| {}).await.err();
    assert!(matches!(opened, Some(OpenError::NotADatabase { .. })), "{opened:?}");
    // Nothing was changed, so the migration succeeds afterwards.
    fixture.execute("DROP TABLE users").await;
    fixture.node().await;
}

#[tokio::test]
async fn the_node_js_versions_database_is_rejected_unchanged() {
    on_postgres(|fixture| async move {
        for table in ["User", "Room", "Message", "ApiToken", "_RoomUsers", "_prisma_migrations"] {
            fixture.execute(&format!("CREATE TABLE \"{table}\" (id text)")).await;
            let url = &fixture.url;
            for refused in [
                fixture.node_with(|_| {}).await.err(),
                migrate(url).await.err(),
                renew_epoch(url).await.err(),
                inspect(url, None).await.err(),
            ] {
                let Some(OpenError::FirstVersion { table: found, .. }) = &refused else { panic!("{table}: {refused:?}") };
                assert_eq!(found, table);
                assert!(refused.unwrap().to_string().contains("chatsphere import nodejs"));
            }
            fixture
                .execute("DO $$ BEGIN ASSERT (SELECT count(*) = 1 FROM pg_tables WHERE schemaname = 'public'); END $$")
                .await;
            fixture.execute(&format!("DROP TABLE \"{table}\"")).await;
        }
        // A server that runs there already is not affected.
        migrate(&fixture.url).await.unwrap();
        fixture.execute("CREATE TABLE \"User\" (id text); CREATE TABLE _prisma_migrations (id text)").await;
        fixture.node().await.store.ping().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_migration_behind_a_dump_lets_the_others_through() {
    on_postgres(async |fixture: Arc<Fixture>| {
        first_release(&fixture).await;
        let dump = fixture.connected().await;
        dump.batch_execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE").await.unwrap();
        let url = fixture.url.clone();
        let migrating = tokio::spawn(async move { migrate(&url).await.unwrap() });
        let waits = "SELECT FROM pg_locks WHERE relation = 'users'::regclass AND NOT granted";
        // On another connection: the build of an index waits for snapshots of the dump.
        let watching = fixture.connected().await;
        while watching.query(waits, &[]).await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Later statements are executed, although the dump still runs.
        let read = fixture.execute("SELECT count(*) FROM users");
        tokio::time::timeout(std::time::Duration::from_secs(30), read).await.unwrap();
        assert!(!migrating.is_finished());
        dump.batch_execute("COMMIT").await.unwrap();
        assert_eq!(migrating.await.unwrap().from, 1);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "no database at all, but long enough to be taken for one\n".repeat(100)).unwrap();
    let error = migrate(&DatabaseUrl::sqlite(&path)).await.unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("no database"));
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let error = migrate(&DatabaseUrl::sqlite(dir.path().join("absent/chat.db"))).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("absent/chat.db"), "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_reported() {
    // Port 1 is reserved, and nothing listens on it.
    let url: DatabaseUrl = "postgresql://ada:s3cret@127.0.0.1:1/chat".parse().unwrap();
    let error = migrate(&url).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("s3cret"));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_missing_database_is_reported() {
    let Some(server) = postgres_server() else { return left_out("no PostgreSQL") };
    let url: DatabaseUrl = with_database(&server, "never_made").parse().unwrap();
    let error = migrate(&url).await.unwrap_err();
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("never_made"), "{error}");
}
