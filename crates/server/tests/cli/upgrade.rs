//! Tests of upgrades of a SQLite file.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{PATIENCE, Place};

/// More messages than a migration enters into an index in one transaction.
const MESSAGES: i64 = 60_000;

/// Makes a file with the tables of the first release: one room with two members, and messages.
fn first_release(path: &std::path::Path) {
    let connection = Connection::open(path).unwrap();
    let tables = include_str!("../../../store/migrations/sqlite/0001_tables.sql");
    let rows = format!(
        "INSERT INTO users VALUES (1, randomblob(16), 'ada', 'MEMBER', 0, 0, 0), (2, randomblob(16), 'bob', 'MEMBER', 0, 0, 0);
         INSERT INTO rooms VALUES (1, randomblob(16), 'room', 1, {MESSAGES} + 2, {MESSAGES}, 2, 0, 0);
         INSERT INTO members VALUES (1, 1, 1), (1, 2, 2);
         INSERT INTO room_events VALUES (1, 1, 'member_joined', 1, 1, 0), (1, 2, 'member_joined', 2, 2, 0);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MESSAGES})
         INSERT INTO messages SELECT i, randomblob(16), 1, i + 2, 1 + i % 2, 'number ' || i, 'c' || i, i, i FROM n;"
    );
    let versions = "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
        INSERT INTO schema_version VALUES (1, 'tables');";
    connection.execute_batch(&format!("BEGIN; {versions} {tables} {rows} COMMIT;")).unwrap();
}

#[test]
fn a_migration_that_is_killed_goes_on_with_the_next_start() {
    let place = Place::new();
    let path = place.directory.path().join("chat.db");
    first_release(&path);
    let place = place.with("DATABASE_URL", &format!("sqlite:{}", path.display()));
    let (mut kills, mut after) = (0, Duration::from_millis(1));
    loop {
        let mut child = place.command(&["migrate"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if began.elapsed() >= after => break None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        // `kill` sends SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        after = after.mul_f64(1.5);
        assert!(after < PATIENCE, "the migration never ends");
    }
    assert!(kills > 3, "{kills}");
    let connection = Connection::open(&path).unwrap();
    let number = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM messages WHERE lane = 0"), MESSAGES);
    assert_eq!(number("SELECT count(*) FROM messages_by_author"), MESSAGES);
    assert_eq!(number("SELECT count(*) FROM messages_by_client_id"), MESSAGES);
    assert_eq!(number("SELECT count(*) FROM members WHERE from_seq = 1"), 2);
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    assert!(place.answer(&["migrate"]).contains(": up to date"));
}
